"""Functions of the user's that are told what happens to the server and its workers."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from tests.helpers.raw_http import fetch
from tests.helpers.server_process import APPS, STRICT, Flavour, serve
from tests.helpers.worker_processes import ready_pids, serve_with_workers, successor_of
from trioserve import Config
from trioserve._supervisor.hooks import LAST_SECONDS, Hooks
from trioserve.testing import seconds_passed

WORKER_HOOKS = ("--worker-started", "hooks:started", "--worker-exited", "hooks:exited")


def test_every_step_of_a_server_with_workers(backend: Flavour) -> None:
    """They are called in the supervisor, one after the other, and the last of them before it ends."""
    with serve_with_workers(
        "probe:app", backend, "--when-ready", "hooks:ready", *WORKER_HOOKS, errors_expected=True
    ) as server:
        first, second = ready_pids(server)
        server.stderr.wait_for(f"hook in {server.pid}: ready")
        told = [line.partition(": ")[2] for line in server.stderr.lines_with("hook in")]
        assert sorted(told[:2]) == sorted([f"worker {first} started", f"worker {second} started"])
        assert told[2] == "ready"
        os.kill(first, signal.SIGKILL)
        server.stderr.wait_for(f"hook in {server.pid}: worker {first} exited with -9")
        server.stderr.wait_for("started", times=3)
        server.stop(errors_expected=True)
        assert len(server.stderr.lines_with("exited with 0")) == 2
        assert server.stderr.lines_with(f"worker {second} exited with 0")


def test_one_process_says_that_it_is_ready(backend: Flavour) -> None:
    with serve("probe:app", backend, "--when-ready", "hooks:ready") as server:
        server.stderr.wait_for(f"hook in {server.pid}: ready")
        assert fetch(server.address, "/hello").status == 200


def test_an_async_hook(backend: Flavour) -> None:
    with serve_with_workers("probe:app", backend, "--worker-started", "hooks:started_async") as server:
        for pid in ready_pids(server):
            server.stderr.wait_for(f"hook in {server.pid}: worker {pid} started")


def test_a_hook_that_fails_ends_nothing(backend: Flavour) -> None:
    with serve_with_workers(
        "probe:app", backend, "--worker-started", "hooks:fails", "--worker-exited", "hooks:exited",
        errors_expected=True,
    ) as server:
        server.stderr.wait_for("RuntimeError: a hook that fails", times=2)
        first, _ = ready_pids(server)
        assert server.stderr.lines_with(f"The hook worker_started({first},) raised")
        server.send_signal(signal.SIGHUP)
        successor_of(server, first)
        server.stderr.wait_for(f"worker {first} exited with 0")


def test_a_reloaded_worker_has_hooks_too(backend: Flavour, tmp_path: Path) -> None:
    with serve("probe:app", backend, "--reload", "--reload-dir", str(tmp_path), *WORKER_HOOKS) as server:
        server.stderr.wait_for("started")
        (tmp_path / "new.py").touch()
        server.stderr.wait_for("exited with 0")
        server.stderr.wait_for("started", times=2)


@pytest.mark.parametrize("command", [["--workers", "2"], [], ["--check"]], ids=["workers", "one process", "check"])
@pytest.mark.parametrize(("target", "problem"), [
    ("hooks:readi", "'hooks:readi': there is no 'readi' in 'hooks'"),
    ("hooks", "'hooks' is not of the form MODULE:ATTRIBUTE; did you mean 'hooks:when_ready'?"),
    ("hooks:sys", "'hooks:sys' cannot be called"),
    ("hooks:exited", "'hooks:exited' is called with (); it takes (pid: int, exit_code: int) -> None"),
])
def test_a_hook_that_cannot_be_called(command: list[str], target: str, problem: str) -> None:
    done = subprocess.run(
        [sys.executable, *STRICT, "-m", "trioserve", "probe:app", "--port", "0", *command, "--when-ready", target],
        cwd=APPS, capture_output=True, text=True, timeout=50)
    assert done.returncode == 2, done.stderr
    assert f"Error: --when-ready: {problem}" in done.stderr


# -- in virtual time -------------------------------------------------------------------------------------------------


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What the hooks of the module ``told_hooks`` were told."""
    told: list[object] = []

    async def slow(pid: int) -> None:
        await anyio.sleep(pid)
        told.append(pid)

    module = type(sys)("told_hooks")
    vars(module)["slow"] = slow
    monkeypatch.setitem(sys.modules, "told_hooks", module)
    return told


async def test_one_after_the_other(told: list[object]) -> None:
    hooks = Hooks(Config(worker_started="told_hooks:slow"))
    async with anyio.create_task_group() as nursery:
        await nursery.start(hooks.run)
        hooks.worker_started(3)
        hooks.worker_started(1)
        with seconds_passed() as elapsed:
            await hooks.finish()
    assert told == [3, 1]
    assert elapsed.seconds == 4


async def test_the_end_does_not_wait_for_ever(told: list[object], caplog: pytest.LogCaptureFixture) -> None:
    hooks = Hooks(Config(worker_started="told_hooks:slow"))
    async with anyio.create_task_group() as nursery:
        await nursery.start(hooks.run)
        hooks.worker_started(1000)
        with seconds_passed() as elapsed:
            await hooks.finish()
    assert told == []
    assert elapsed.seconds == LAST_SECONDS
    assert "A hook did not end within 5 seconds" in caplog.text


def test_a_thread_that_hangs_does_not_hold_the_end_up(backend: Flavour) -> None:
    with serve_with_workers("probe:app", backend, "--worker-exited", "hooks:hangs", errors_expected=True) as server:
        server.stop(errors_expected=True)
        assert server.stderr.lines_with("A hook did not end within 5 seconds")
