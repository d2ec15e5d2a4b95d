"""Threads of the application that do not end: the process does, in time, and names them."""

import signal
import sys
from pathlib import Path

import pytest

from tests.helpers.raw_http import RawClient, fetch
from tests.helpers.server_process import STRICT, Flavour, ServerProcess, running, serve
from tests.helpers.worker_processes import serve_with_workers

PROGRAM = Path(__file__).parent / "programs" / "lingering_program.py"
PATHS = pytest.mark.parametrize("path", ["/thread", "/executor", "/loops-executor"])
NO_GRACE = ("--timeout-graceful-shutdown", "0.1")


def judge_end(server: ServerProcess, code: int = 0) -> None:
    """By itself, and with a line that says where the thread stands."""
    assert server.wait_exit() == code, server.report
    line = server.stderr.wait_for("The process ends without waiting any longer for ")
    assert "(threading.py:" in line


@PATHS
def test_the_budget_holds_for_threads_too(loop: Flavour, path: str) -> None:
    with serve("lingering:app", loop, *NO_GRACE) as server:
        assert fetch(server.address, path).body == b"started"
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("Waiting for threads of the application, 1 s at most; another signal ends them: ")
        judge_end(server)


@PATHS
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_second_signal_ends_them(loop: Flavour, path: str, number: signal.Signals) -> None:
    with serve("lingering:app", loop, "--timeout-graceful-shutdown", "off") as server:
        fetch(server.address, path)
        server.send_signal(number)
        server.stderr.wait_for("Waiting for threads of the application, for as long as they take; another signal ends ")
        server.send_signal(number)
        judge_end(server)


def test_a_request_in_a_thread_cannot_be_cancelled(loop: Flavour) -> None:
    """So its connection does not end, and the server neither."""
    with serve("lingering:app", loop, *NO_GRACE) as server, RawClient(server.address) as client:
        client.get("/endpoint")
        fetch(server.address, "/thread")
        server.send_signal(signal.SIGTERM)
        assert server.wait_exit() == 1
        server.stderr.wait_for("shutdown-deadline: ended GET /endpoint")
        assert "own thread (" in server.stderr.wait_for("The process ends without waiting any longer for ")


def test_a_second_signal_ends_such_a_request(loop: Flavour) -> None:
    with serve("lingering:app", loop, "--timeout-graceful-shutdown", "off") as server:
        with RawClient(server.address) as client:
            client.get("/endpoint")
            fetch(server.address, "/thread")
            server.send_signal(signal.SIGTERM)
            server.stderr.wait_for("Shutting down")
            server.insist(signal.SIGTERM)
            assert server.wait_exit() == 1
        server.stderr.wait_for("The process ends without waiting any longer for ")


def test_threads_that_end_are_waited_for_without_a_word(loop: Flavour) -> None:
    with serve("lingering:tidy", loop) as server:
        server.stop()
        assert not server.stderr.lines_with("Waiting for threads", "The process ends")


def test_daemons_of_a_pool_are_not_waited_for(loop: Flavour) -> None:
    """Python would join them, and exit functions would come after that: never."""
    with serve("lingering:app", loop) as server:
        fetch(server.address, "/kernel")
        server.stop()
        assert server.stderr.text.endswith("Stopped\nan exit function")
        assert not server.stderr.lines_with("Waiting for threads", "The process ends")


def test_a_pool_that_a_plain_function_has_filled_is_waited_for(loop: Flavour) -> None:
    """On trio it consists of daemons, too, because trio's threads are, and nobody has asked for that."""
    with serve("lingering:app", loop, *NO_GRACE) as server:
        fetch(server.address, "/plain")
        server.send_signal(signal.SIGTERM)
        assert "own executor" in server.stderr.wait_for("Waiting for threads of the application, 1 s at most")
        judge_end(server)


def test_a_program(loop: Flavour) -> None:
    """It goes on when ``run()`` returns; when it has ended, the same holds as for the command."""
    with running([*STRICT, PROGRAM, loop.backend, loop.loop]) as server:
        fetch(server.address, "/thread")
        server.send_signal(signal.SIGTERM)
        judge_end(server)
        assert server.stderr.lines_with("the program goes on")


def test_an_application_that_does_not_start(loop: Flavour) -> None:
    command = [sys.executable, *STRICT, "-m", "trioserve", "lingering:failing", "--port", "0", *loop.options, *NO_GRACE]
    server = ServerProcess(command)
    try:
        judge_end(server, code=3)
        assert "the application failed to start: no database" in server.stderr.text
    finally:
        server.kill()


def test_check(loop: Flavour) -> None:
    command = [sys.executable, *STRICT, "-m", "trioserve", "lingering:with_lifespan", "--check"]
    server = ServerProcess([*command, *loop.options, *NO_GRACE])
    try:
        judge_end(server)
    finally:
        server.kill()


@PATHS
def test_workers(loop: Flavour, path: str) -> None:
    with serve_with_workers("lingering:app", loop, *NO_GRACE) as server:
        fetch(server.address, path)
        server.send_signal(signal.SIGTERM)
        judge_end(server)
        assert not server.stderr.lines_with("is killed")


def test_daemons_of_a_pool_in_workers(loop: Flavour) -> None:
    with serve_with_workers("lingering:app", loop) as server:
        fetch(server.address, "/kernel")
        server.stop()
        assert server.stderr.lines_with("an exit function")
        assert not server.stderr.lines_with("Waiting for threads", "The process ends")


def test_a_second_signal_to_workers(loop: Flavour) -> None:
    with serve_with_workers("lingering:app", loop) as server:
        fetch(server.address, "/thread")
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("Waiting for threads of the application")
        server.send_signal(signal.SIGTERM)
        judge_end(server)
        assert not server.stderr.lines_with("is killed")


def test_workers_whose_event_loop_has_ended_are_not_held_to_be_stuck(loop: Flavour) -> None:
    options = ("--timeout-worker-healthcheck", "2", "--timeout-graceful-shutdown", "4")
    with serve_with_workers("lingering:app", loop, *options) as server:
        fetch(server.address, "/thread")
        server.send_signal(signal.SIGTERM)
        judge_end(server)
        assert not server.stderr.lines_with("is killed")
