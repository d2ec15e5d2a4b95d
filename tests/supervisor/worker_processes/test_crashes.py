"""Real worker processes that crash or wedge are replaced."""

import os
import resource
import signal

import pytest

from tests.helpers.raw_http import RawClient, fetch
from tests.helpers.server_process import Flavour, wait_until
from tests.helpers.worker_processes import pid_of_answer, ready_pids, serve_with_workers, worker_pids


def test_a_crashed_worker_is_replaced(backend: Flavour) -> None:
    with serve_with_workers("probe:app", backend, errors_expected=True) as server:
        before = ready_pids(server)
        with RawClient(server.address) as client:
            client.get("/leave_at_once")
            assert client.is_closed()
        server.stderr.wait_for("ended unexpectedly (exit code 7)")
        server.stderr.wait_for("is ready")
        wait_until(lambda: len(worker_pids(server)) == 2, "two workers")
        assert len(set(worker_pids(server)) & set(before)) == 1
        assert fetch(server.address, "/hello").status == 200


def test_workers_that_crash_again_and_again_are_replaced_ever_later(backend: Flavour) -> None:
    with serve_with_workers("probe:app", backend, workers=2, errors_expected=True) as server:
        for crash in range(1, 5):
            with RawClient(server.address) as client:
                client.get("/die")
                assert client.is_closed()
            server.stderr.wait_for("ended unexpectedly (SIGKILL)", times=crash)
        server.stderr.wait_for("The next worker is started in 1 seconds")
        assert fetch(server.address, "/hello").status == 200


def test_a_wedged_worker_is_replaced_and_shows_where_it_stood(backend: Flavour) -> None:
    with serve_with_workers(
        "probe:app", backend, "--timeout-worker-healthcheck", "2", errors_expected=True
    ) as server, RawClient(server.address) as client:
        client.get("/wedge")
        server.stderr.wait_for("/wedge wedged")
        server.stderr.wait_for("is killed: its event loop has stood still for 2 seconds")
        server.stderr.wait_for("stood here when it ended:")
        server.stderr.wait_for("in stand_still")
        server.stderr.wait_for("is ready")
        assert client.is_closed()
        assert fetch(server.address, "/hello").status == 200


def test_a_busy_worker_is_left_alone(backend: Flavour) -> None:
    """Its loop turns, if slowly; and a supervisor that was stopped itself does not blame others."""
    with serve_with_workers("probe:app", backend, "--timeout-worker-healthcheck", "2") as server:
        with RawClient(server.address) as client:
            client.get("/spin")
            server.stderr.wait_for("/spin spinning")
            server.send_signal(signal.SIGSTOP)
            client.sock.settimeout(2.5)
            with pytest.raises(TimeoutError):
                client.receive_exactly(1)
            server.send_signal(signal.SIGCONT)
            assert fetch(server.address, "/hello").status == 200
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("Shutting down", times=3)
        server.insist(signal.SIGTERM)
        server.judge_end()


def test_a_system_that_has_no_process_left(backend: Flavour) -> None:
    """The supervisor tries again; meanwhile the others serve."""
    with serve_with_workers("probe:app", backend, errors_expected=True) as server:
        first, second = ready_pids(server)
        soft, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (server.descriptors(), hard))
        os.kill(first, signal.SIGKILL)
        server.stderr.wait_for("No worker process can be started: [Errno 24] Too many open files", times=2)
        assert pid_of_answer(server) == second
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (soft, hard))
        server.stderr.wait_for("is ready")


def test_stopped_while_there_is_no_process(backend: Flavour) -> None:
    with serve_with_workers("probe:app", backend, errors_expected=True) as server:
        _, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (server.descriptors(), hard))
        os.kill(ready_pids(server)[0], signal.SIGKILL)
        server.stderr.wait_for("Too many open files")
