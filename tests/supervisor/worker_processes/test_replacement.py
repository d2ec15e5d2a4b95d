"""Real worker processes are replaced one by one, added and removed; no request is lost."""

import os
import signal

from tests.helpers.raw_http import RawClient, fetch
from tests.helpers.server_process import Flavour, wait_until
from tests.helpers.worker_processes import ready_pids, serve_with_workers, successor_of, wait_gone, worker_pids


def test_sighup_replaces_the_workers_one_by_one(backend: Flavour) -> None:
    with serve_with_workers("probe:app", backend) as server:
        before = ready_pids(server)
        descriptors = server.descriptors()
        for turn in range(1, 3):
            server.send_signal(signal.SIGHUP)
            server.stderr.wait_for("Every worker has had its turn (SIGHUP)", times=turn)
        successors = [successor_of(server, pid) for pid in before]
        for pid in before:
            wait_gone(pid)
        assert not set(worker_pids(server)) & {*before, *successors}
        assert len(worker_pids(server)) == 2
        assert server.descriptors() == descriptors
        server.stop()
        at = [index for index, line in enumerate(server.stderr.text.splitlines())
              if "takes the place" in line or line == "probe: lifespan ended"]
        text = server.stderr.text.splitlines()
        assert ["takes" in text[index] for index in at] == [True, False] * 4 + [False] * 2


def test_the_old_worker_finishes_what_it_has_begun(backend: Flavour) -> None:
    """And a request that comes on a connection of an old worker in that moment is answered."""
    with serve_with_workers("probe:app", backend, workers=2) as server, RawClient(server.address) as slow, \
         RawClient(server.address) as quick:
        slow.send(b"POST /mirror HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst")
        assert b"first" in slow.receive_until(b"first\r\n")
        for pid in ready_pids(server):
            os.kill(pid, signal.SIGSTOP)                                # so that they find all of it together
        server.send_signal(signal.SIGHUP)
        server.stderr.wait_for("takes the place of worker ")
        quick.get("/hello")
        for pid in ready_pids(server):
            os.kill(pid, signal.SIGCONT)
        server.stderr.wait_for("Shutting down (SIGHUP)")
        assert quick.receive_response().body == b"Hello, world!"
        slow.send(b" last")
        assert slow.receive_chunk() == b" last"
        assert slow.receive_chunk() == b""
        server.stderr.wait_for("Every worker has had its turn")


def test_workers_are_added_and_removed(backend: Flavour) -> None:
    with serve_with_workers("probe:app", backend) as server:
        server.send_signal(signal.SIGTTIN)
        server.stderr.wait_for("the number of workers is 3")
        assert len(worker_pids(server)) == 3
        for count in (2, 1):
            server.send_signal(signal.SIGTTOU)
            server.stderr.wait_for(f"the number of workers is {count}", times=1)
            wait_until(lambda: len(worker_pids(server)) == count, f"{count} workers")  # noqa: B023
        server.send_signal(signal.SIGTTOU)
        server.stderr.wait_for("No worker is removed: the last one stays")
        assert fetch(server.address, "/hello").status == 200


def test_a_worker_that_has_served_its_time_goes_on_until_there_is_another(backend: Flavour) -> None:
    with serve_with_workers("probe:app", backend, "--limit-max-requests", "3") as server:
        before = ready_pids(server)
        for _ in range(20):
            assert fetch(server.address, "/hello").status == 200
        gone = int(server.stderr.wait_for("(limit-max-requests)").split()[-2])
        assert gone in before
        assert successor_of(server, gone) not in before


def test_a_worker_that_is_old_is_replaced(backend: Flavour) -> None:
    with serve_with_workers("probe:app", backend, "--limit-max-age", "500ms") as server:
        before = ready_pids(server)
        server.stderr.wait_for("(limit-max-age)", times=2)
        assert {successor_of(server, pid) for pid in before}.isdisjoint(before)


def test_a_worker_that_holds_too_much_memory_is_replaced(backend: Flavour) -> None:
    with serve_with_workers("probe:app", backend, "--limit-max-rss", "256MiB") as server:
        before = ready_pids(server)
        assert fetch(server.address, f"/hoard?size={256 * 1024**2}").body == b"kept"
        gone = int(server.stderr.wait_for("(limit-max-rss)").split()[-2])
        assert gone in before
        assert server.stderr.lines_with(f"[{gone}] This process holds ")
        assert successor_of(server, gone) not in before
