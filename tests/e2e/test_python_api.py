"""``trioserve.run`` and ``trioserve.serve`` in programs of their own."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.raw_http import fetch
from tests.helpers.server_process import STRICT, WAIT_SECONDS, check_log, running

PROGRAMS = Path(__file__).parent / "programs"


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


NATIVE = ("trio", "asyncio")
ANYIO = ("anyio-trio", "anyio-asyncio")


@pytest.mark.parametrize(("way", "scenario", "expected"), [
    (way, scenario, expected)
    for ways, scenario, expected in [
        (NATIVE + ANYIO, "visit", ["lifespan begins", "/one", "/two", "lifespan ends", "stopped"]),
        (NATIVE + ANYIO, "cancel_with_a_request_in_progress",
         ["lifespan begins", "/slow close", "lifespan ends", "stopped"]),
        (NATIVE, "leave_the_program_alone", ["lifespan begins", "True", "[] []", "lifespan ends"]),
        (NATIVE, "two_servers",
         ["lifespan begins", "lifespan begins", "/first", "/second", "lifespan ends", "lifespan ends", "stopped"]),
        (NATIVE, "bind_failed",
         ["lifespan begins",
          "BindFailed: cannot listen on 192.0.2.1:0: this machine has no such address; choose another one",
          "lifespan ends"]),
        (NATIVE, "lifespan_dies",
         ["lifespan begins", "LifespanDied: the application's lifespan died while the server was running"]),
    ]
    for way in ways
], ids=lambda value: value if isinstance(value, str) else "")
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
