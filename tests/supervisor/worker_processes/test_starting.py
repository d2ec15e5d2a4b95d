"""Real worker processes that are starting: a signal comes in a bad moment, or they cannot start."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.helpers.raw_http import fetch
from tests.helpers.server_process import STRICT, Flavour, running
from tests.helpers.worker_processes import (
    STOP_SIGNALS,
    ready_pids,
    serve_with_workers,
    starting,
    successor_of,
    worker_pids,
)

SLOW_START = '''
import os, sys, anyio

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        print("starting", os.getpid(), file=sys.stderr, flush=True)
        if os.path.exists("{block}") and os.path.getsize("{block}"):
            await anyio.sleep_forever()
        while os.path.exists("{block}"):
            await anyio.sleep(0.01)
        print("started", file=sys.stderr, flush=True)
        await send({{"type": "lifespan.startup.complete"}})
        await receive()
        print("closed", file=sys.stderr, flush=True)
        await send({{"type": "lifespan.shutdown.complete"}})
        return
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": b"%d" % os.getpid()}})

{more}
'''


@pytest.fixture
def block(tmp_path: Path) -> Path:
    """While this file exists, the application's lifespan does not start; if something is in it, it never does."""
    return tmp_path / "block"


def write_app(directory: Path, block: Path, more: str = "") -> list[str]:
    """Write the module ``site_workers``; return the options to find it."""
    (directory / "site_workers.py").write_text(SLOW_START.format(block=block, more=more))
    return ["--app-dir", str(directory)]


@STOP_SIGNALS
def test_stopped_while_it_starts(backend: Flavour, tmp_path: Path, block: Path, number: signal.Signals) -> None:
    block.touch()
    options = write_app(tmp_path, block)
    with starting("site_workers:app", backend, *options) as server:
        server.stderr.wait_for("starting")
        server.send_signal(number)
        server.judge_end()
        assert not server.stderr.lines_with("Listening")


def test_stopped_when_the_application_has_just_started(backend: Flavour, tmp_path: Path, block: Path) -> None:
    """What has been opened is closed, although nobody has been served: the supervisor has no sockets any more."""
    block.touch()
    with starting("site_workers:app", backend, *write_app(tmp_path, block)) as server:
        server.stderr.wait_for("starting")
        os.kill(server.pid, signal.SIGSTOP)
        block.unlink()
        server.stderr.wait_for("started")
        server.send_signal(signal.SIGTERM)
        os.kill(server.pid, signal.SIGCONT)
        server.judge_end()
        assert server.stderr.lines_with("closed")


def test_stopped_while_a_successor_starts(backend: Flavour, tmp_path: Path, block: Path) -> None:
    """One that still imports the application hears nothing; it is killed, with an error, if that takes two seconds."""
    with serve_with_workers("site_workers:app", backend, *write_app(tmp_path, block)) as server:
        block.touch()
        server.send_signal(signal.SIGHUP)
        server.stderr.wait_for("starting", times=3)
        server.send_signal(signal.SIGHUP)
        server.send_signal(signal.SIGTERM)
        server.judge_end(errors_expected=True)


def test_a_successor_that_hangs_is_overtaken(backend: Flavour, tmp_path: Path, block: Path) -> None:
    """Somebody mends what made it hang, and asks again. No reload is over before every worker has been replaced."""
    with serve_with_workers("site_workers:app", backend, *write_app(tmp_path, block)) as server:
        before = ready_pids(server)
        block.write_text("forever")
        server.send_signal(signal.SIGHUP)
        server.stderr.wait_for("starting", times=3)
        assert int(fetch(server.address, "/").body) in before
        block.unlink()
        server.send_signal(signal.SIGHUP)
        for pid in before:
            successor_of(server, pid)
        server.stderr.wait_for("Every worker has had its turn", times=2)
        assert len(worker_pids(server)) == 2
        told = [line for line in server.stderr.text.splitlines() if "takes the place" in line or "its turn" in line]
        assert ["takes the place" in line for line in told] == [True, True, False, False]


def test_a_hang_up_while_the_server_starts(backend: Flavour, tmp_path: Path, block: Path) -> None:
    block.touch()
    with starting("site_workers:app", backend, *write_app(tmp_path, block)) as server:
        server.stderr.wait_for("starting")
        server.send_signal(signal.SIGHUP)
        server.stderr.wait_for("Replacing the workers (SIGHUP)")
        block.unlink()
        server.stderr.wait_for("2 workers are ready")
        server.stderr.wait_for("Every worker has had its turn")
        server.stop()


def test_a_successor_that_cannot_start_changes_nothing(backend: Flavour, tmp_path: Path, block: Path) -> None:
    options = write_app(tmp_path, block)
    with serve_with_workers("site_workers:app", backend, *options, errors_expected=True) as server:
        before = ready_pids(server)
        write_app(tmp_path, block, more="raise ValueError('not finished')")
        server.send_signal(signal.SIGHUP)
        for pid in before:
            line = server.stderr.wait_for(f"worker {pid} stays")
            assert "could not be imported: ValueError: not finished" in line
        server.stderr.wait_for("Every worker has had its turn")
        assert sorted(worker_pids(server)) == sorted(before)
        assert int(fetch(server.address, "/").body) in before


def test_a_successor_without_a_current_directory_changes_nothing(
    backend: Flavour, tmp_path: Path, block: Path
) -> None:
    """A deployment has deleted it; whoever replaces the workers did not mean this directory."""
    here = tmp_path / "here"
    here.mkdir()
    write_app(here, block)
    program = "import os, sys; os.chdir(sys.argv.pop(1)); from trioserve.cli import main; main()"
    options = ["site_workers:app", "--port", "0", "--workers", "2", *backend.options]
    with running([*STRICT, "-c", program, here, *options], errors_expected=True) as server:
        before = ready_pids(server)
        shutil.rmtree(here)
        server.send_signal(signal.SIGHUP)
        for pid in before:
            line = server.stderr.wait_for(f"worker {pid} stays")
            assert "the current directory does not exist any more" in line
        server.stderr.wait_for("Every worker has had its turn")
        assert sorted(worker_pids(server)) == sorted(before)
        assert "Traceback" not in server.stderr.text


def test_a_crashed_worker_whose_successor_cannot_start(backend: Flavour, tmp_path: Path, block: Path) -> None:
    """The next try comes later, or when somebody asks for it."""
    options = write_app(tmp_path, block)
    with serve_with_workers("site_workers:app", backend, *options, errors_expected=True) as server:
        first, _ = ready_pids(server)
        write_app(tmp_path, block, more="raise ValueError('not finished')")
        os.kill(first, signal.SIGKILL)
        server.stderr.wait_for("could not start: 'site_workers:app' could not be imported: ValueError: not finished")
        server.stderr.wait_for("The next worker is started in 1 seconds")
        write_app(tmp_path, block)
        server.send_signal(signal.SIGHUP)
        server.stderr.wait_for("Every worker has had its turn")
        assert len(worker_pids(server)) == 2


@pytest.mark.parametrize(("more", "code", "line"), [
    ("raise ValueError('broken')", 3, "Error: 'site_workers:app' could not be imported: ValueError: broken"),
    ("import os; os._exit(7)", 3, "Error: the worker process ended before it was ready (exit code 7)"),
    ("del app", 2, "Error: 'site_workers:app': there is no 'app' in 'site_workers'"),
])
def test_a_first_worker_that_cannot_start_stops_the_server(
    backend: Flavour, tmp_path: Path, block: Path, more: str, code: int, line: str
) -> None:
    with starting("site_workers:app", backend, *write_app(tmp_path, block, more)) as server:
        assert server.wait_exit() == code
        assert server.stderr.lines_with(line)[0].startswith(line)
        assert len(server.stderr.lines_with(line)) == 1
        assert len(server.stderr.lines_with("Traceback")) == ("ValueError" in more)


@pytest.mark.parametrize("options", [(), ("--workers", "1", "--reload")], ids=["", "reload"])
def test_a_system_that_starts_no_process_stops_the_server(
    backend: Flavour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    """As when the interpreter is gone, or a sandbox forbids it: nobody will give that back."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.executable = '/nowhere/python'\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    with starting("probe:app", backend, *options) as server:
        assert server.wait_exit() == 3
        [line] = server.stderr.lines_with("Error:")
    assert line.startswith("Error: no worker process can be started: [Errno 2] No such file or directory")


def test_an_added_worker_that_cannot_start(backend: Flavour, tmp_path: Path, block: Path) -> None:
    with serve_with_workers("site_workers:app", backend, *write_app(tmp_path, block), errors_expected=True) as server:
        before = ready_pids(server)
        write_app(tmp_path, block, more="raise ValueError('not finished')")
        server.send_signal(signal.SIGTTIN)
        server.stderr.wait_for("The worker that was added could not start: 'site_workers:app' could not be imported")
        assert sorted(worker_pids(server)) == sorted(before)
