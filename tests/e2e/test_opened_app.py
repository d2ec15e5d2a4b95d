"""``trioserve module:open_app``: an async context manager as the application, in real processes."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.raw_http import fetch
from tests.helpers.server_process import Flavour, serve
from tests.helpers.worker_processes import serve_with_workers

APPS = Path(__file__).parent / "apps"


def test_one_process(loop: Flavour) -> None:
    with serve("opened:open_app", loop) as server:
        assert fetch(server.address, "/").body == b"open"
        assert server.stderr.lines_with("opened") and not server.stderr.lines_with("closed")
        server.stop()
        assert server.stderr.lines_with("closed")


def test_its_failure_is_the_end_of_the_process(loop: Flavour) -> None:
    with serve("opened:open_app", loop, errors_expected=True) as server:
        assert fetch(server.address, "/fail").status == 200
        assert server.wait_exit() == 3
        assert server.stderr.lines_with("Deliberate: the connection is lost")
        assert server.stderr.lines_with("The application's lifespan died; the server stops")
        assert server.stderr.lines_with("closed")


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_each_worker_opens_its_own_and_is_replaced_when_it_fails(backend: str) -> None:
    with serve_with_workers("opened:open_app", Flavour(backend), errors_expected=True) as server:
        server.stderr.wait_for("opened", times=2)
        assert fetch(server.address, "/fail").status == 200
        server.stderr.wait_for("The application's lifespan died")
        server.stderr.wait_for("opened", times=3)
        assert fetch(server.address, "/").body == b"open"


@pytest.mark.parametrize("target", ["opened:open_app", "opened:app"])
def test_a_rehearsal(target: str) -> None:
    done = run_command("--check", target)
    assert (done.returncode, "loads, starts and stops" in done.stderr) == (0, True), done.stderr
    assert ("closed" in done.stderr) is (target == "opened:open_app")


def test_what_yields_no_application() -> None:
    done = run_command("opened:open_nothing", "--port", "0")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "Error: None is not an application: it cannot be called"


def run_command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "trioserve", "--app-dir", str(APPS), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)
