"""Signals that a server has no use for, or not always: none ends it without a word."""

import signal
import sys

from tests.helpers.raw_http import RawClient, fetch
from tests.helpers.server_process import STRICT, Flavour, running, serve
from tests.helpers.worker_processes import serve_with_workers


def test_a_hang_up_stops_a_single_process_gracefully(loop: Flavour) -> None:
    with serve("probe:app", loop) as server, RawClient(server.address) as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst")
        server.stderr.wait_for("/echo entered")
        server.send_signal(signal.SIGHUP)
        server.stderr.wait_for("Shutting down (SIGHUP)")
        server.send_signal(signal.SIGHUP)
        client.send(b" last")
        assert client.receive_response().body == b"first last"
        server.judge_end()
        assert server.stderr.lines_with("probe: lifespan ended")


def test_nohup(loop: Flavour) -> None:
    """Who ignores SIGHUP from the start goes on ignoring it."""
    command = [sys.executable, *STRICT, "-m", "trioserve", "probe:app", "--port", "0", *loop.options]
    launch = "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    with running(["-c", launch, *command]) as server:
        server.send_signal(signal.SIGHUP)
        assert fetch(server.address, "/hello").status == 200
        server.stop()
        assert not server.stderr.lines_with("SIGHUP")


def test_a_signal_without_a_meaning_leaves_a_line(loop: Flavour) -> None:
    with serve("probe:app", loop) as server:
        server.send_signal(signal.SIGUSR2)
        server.stderr.wait_for("SIGUSR2 means nothing to this process")
        assert fetch(server.address, "/hello").status == 200


def test_a_supervisor_survives_such_a_signal(loop: Flavour) -> None:
    with serve_with_workers("probe:app", loop) as server:
        server.send_signal(signal.SIGUSR2)
        server.stderr.wait_for("WARNING:  SIGUSR2 means nothing to this process")
        assert fetch(server.address, "/hello").status == 200
