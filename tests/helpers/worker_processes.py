"""A server with worker processes, and what can be known of them from outside (Linux)."""

import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.raw_http import fetch
from tests.helpers.server_process import STRICT, Flavour, ServerProcess, serve, wait_until

__all__ = [
    "STOP_SIGNALS", "is_running", "pid_of_answer", "ready_pids", "serve_with_workers", "starting", "successor_of",
    "wait_gone", "worker_pids",
]

STOP_SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])


@contextmanager
def serve_with_workers(
    app: str, flavour: Flavour, *options: str, workers: int = 2, python_options: Sequence[str] = STRICT,
    errors_expected: bool = False,
) -> Iterator[ServerProcess]:
    """``serve``, once every worker is ready. At its end no process is left: the pipes of its output are closed."""
    with serve(
        app, flavour, "--workers", str(workers), *options, python_options=python_options,
        errors_expected=errors_expected,
    ) as server:
        server.stderr.wait_for("workers are ready")
        yield server


@contextmanager
def starting(app: str, flavour: Flavour, *options: str) -> Iterator[ServerProcess]:
    """Two workers, from the moment that the supervisor is started; killed afterwards if it is still there."""
    command = [*STRICT, "-m", "trioserve", app, "--port", "0", *flavour.options, "--workers", "2", *options]
    server = ServerProcess([sys.executable, *command])
    try:
        yield server
    except BaseException as exc:
        server.kill()
        exc.add_note(server.report)
        raise
    server.kill()


def ready_pids(server: ServerProcess) -> list[int]:
    """The first workers."""
    line = server.stderr.wait_for("workers are ready")
    return [int(pid) for pid in re.findall(r"\d+", line.partition("(")[2])]


def successor_of(server: ServerProcess, pid: int) -> int:
    """Who takes the place of the worker ``pid``, once it has."""
    line = server.stderr.wait_for(f"takes the place of worker {pid} ")
    return int(line.split()[2])


def worker_pids(server: ServerProcess) -> list[int]:
    """Every child process of the supervisor, as the kernel knows them; zombies, too."""
    text = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
    return [int(pid) for pid in text.split()]


def pid_of_answer(server: ServerProcess) -> int:
    """Who answers a request on a new connection."""
    pid: int = fetch(server.address, "/census").json()["pid"]
    return pid


def is_running(pid: int) -> bool:
    """The process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_gone(pid: int) -> None:
    wait_until(lambda: not is_running(pid), f"the end of process {pid}")
