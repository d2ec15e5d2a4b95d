"""``trioserve.run`` and ``trioserve.serve`` in programs of their own."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.raw_http import fetch
from tests.helpers.server_process import STRICT, WAIT_SECONDS, check_log, running

PROGRAMS = Path(__file__).parent / "programs"
DIED = "LifespanDied: the application's lifespan died while the server was running"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_run(backend: str, number: signal.Signals) -> None:
    with running([*STRICT, PROGRAMS / "runs.py", backend]) as server:
        assert fetch(server.address, "/").body == b"from run()"
        server.send_signal(number)
        server.judge_end()
        access, *rest = server.stdout.text.splitlines()
        assert '"GET / HTTP/1.1" 200 OK' in access
        assert rest == ["run() returned", "SIGTERM is as before: True"]
        assert server.stderr.lines_with(f"Shutting down ({number.name})")


@pytest.mark.parametrize("way", ["trio", "asyncio", "anyio-trio", "anyio-asyncio"])
@pytest.mark.parametrize(("scenario", "expected"), [
    ("visit", ["lifespan begins", "/one", "/two", "lifespan ends", "stopped"]),
    ("cancel_with_a_request_in_progress", ["lifespan begins", "/slow close", "lifespan ends", "stopped"]),
    ("leave_the_program_alone", ["lifespan begins", "True", "[] []", "lifespan ends"]),
    ("two_servers",
     ["lifespan begins", "lifespan begins", "/first", "/second", "lifespan ends", "lifespan ends", "stopped"]),
    ("bind_failed",
     ["lifespan begins",
      "BindFailed: cannot listen on 192.0.2.1:0: this machine has no such address; choose another --host",
      "lifespan ends"]),
    ("lifespan_dies", ["lifespan begins", DIED]),
])
def test_serve(way: str, scenario: str, expected: list[str]) -> None:
    command = [sys.executable, *STRICT, str(PROGRAMS / "embedded.py"), way, scenario]
    done = subprocess.run(
        command, cwd=PROGRAMS, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WAIT_SECONDS,
        check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines.pop() == "tasks left: 0"
    if scenario in ("cancel_with_a_request_in_progress", "two_servers"):    # two things end at the same time
        lines.sort()
        expected = sorted(expected)
    assert lines == expected
    check_log(done.stderr, errors_expected=scenario == "lifespan_dies")
