"""Several real worker processes start, serve and stop, and nothing is left of them."""

import json
import os
import signal
import socket
from pathlib import Path

import pytest

from tests.helpers.certificates import files_of, server_certificate
from tests.helpers.curl import Curl
from tests.helpers.raw_http import RawClient, fetch
from tests.helpers.server_process import Flavour, serve
from tests.helpers.worker_processes import (
    STOP_SIGNALS,
    is_running,
    pid_of_answer,
    ready_pids,
    serve_with_workers,
    starting,
    worker_pids,
)

# -- listening -------------------------------------------------------------------------------------------------------


def test_workers_serve_with_tls_and_without(backend: Flavour, tmp_path: Path) -> None:
    """And so do those that take their place."""
    certificate, key = files_of(server_certificate(), tmp_path)
    tls = ["--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)]
    with serve_with_workers("origin:app", backend, *tls, "--insecure-bind", "127.0.0.1:0") as server:
        assert server.scheme == "https"
        for reloads in range(2):
            assert Curl("--insecure", server.url).json()["scheme"] == "https"
            assert Curl(server.insecure_url).json()["scheme"] == "http"
            server.send_signal(signal.SIGHUP)
            server.stderr.wait_for("Every worker has had its turn", times=1 + reloads)


def test_workers_without_certificates_do_not_serve_insecurely(backend: Flavour) -> None:
    with starting("origin:app", backend, "--insecure-bind", "127.0.0.1:0") as server:
        assert server.wait_exit() == 2
        assert server.stderr.text.splitlines()[-1].startswith("Error: --insecure-bind: without certificates ")


# -- what they log ----------------------------------------------------------------------------------------------------


def test_the_lines_of_a_worker_say_which_one_it_was(backend: Flavour) -> None:
    with serve_with_workers("probe:app", backend) as server:
        pids = ready_pids(server)
        server.stop()
        for pid in pids:
            assert server.stderr.lines_with(f"INFO:     [{pid}] Stopped")
        assert "INFO:     Stopped" in server.stderr.text.splitlines()     # the supervisor


def test_so_do_their_lines_of_json(backend: Flavour) -> None:
    with serve_with_workers("probe:app", backend, "--log-format", "json") as server:
        pid = pid_of_answer(server)
        server.stop()
        lines = [json.loads(line) for line in server.stderr.text.splitlines() if line.startswith("{")]
        stopped = {line["pid"] for line in lines if line["message"] == "Stopped"}
        assert {pid, server.pid} < stopped
        [access] = [json.loads(line) for line in server.stdout.text.splitlines() if "trioserve.access" in line]
        assert access["pid"] == pid


# -- start and stop --------------------------------------------------------------------------------------------------


def test_workers_serve_and_nothing_is_left(backend: Flavour, tmp_path: Path) -> None:
    pid_file = tmp_path / "server.pid"
    with serve_with_workers("probe:app", backend, "--pid-file", str(pid_file)) as server:
        pids = ready_pids(server)
        assert len(pids) == 2
        assert sorted(worker_pids(server)) == sorted(pids)
        assert pid_of_answer(server) in pids
        assert pid_file.read_text() == f"{server.pid}\n"
        server.stop()
        assert not any(is_running(pid) for pid in pids)
        assert not pid_file.exists()
        assert len(server.stderr.lines_with("Listening on")) == 1
        with pytest.raises(ConnectionRefusedError):
            fetch(server.address, "/hello")
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)     # past connections do not count
            again.bind(server.address)
            again.listen()


@STOP_SIGNALS
def test_a_request_in_progress_is_finished(backend: Flavour, number: signal.Signals) -> None:
    """The terminal's Ctrl-C reaches every process at once, and so does systemd's SIGTERM."""
    with serve_with_workers("probe:app", backend) as server, RawClient(server.address) as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst")
        server.stderr.wait_for("/echo entered")
        for pid in (*ready_pids(server), server.pid):
            os.kill(pid, number)
        server.stderr.wait_for(f"Shutting down ({number.name})", times=3)    # two workers and the supervisor
        client.send(b" last")
        response = client.receive_response()
        assert response.body == b"first last"
        assert response.headers["connection"] == "close"
        server.judge_end()
        assert not server.stderr.lines_with("again")
        assert len(server.stderr.lines_with("probe: lifespan ended")) == 2


def test_with_a_delay_the_file_of_a_unix_socket_stays(backend: Flavour, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    options = ["--workers", "2", "--bind", f"unix:{path}", "--shutdown-delay", "60"]
    with serve("origin:app", backend, *options, port=None) as server:
        server.stderr.wait_for("workers are ready")
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("Accepting connections for 60 s more", times=2)
        assert Curl("--unix-socket", path, "http://a/late").json()["path"] == "/late"
        server.insist(signal.SIGTERM)
        server.judge_end()
        assert not path.exists()


@STOP_SIGNALS
def test_a_second_signal_does_not_wait(backend: Flavour, number: signal.Signals) -> None:
    with serve_with_workers("probe:app", backend) as server, RawClient(server.address) as client:
        client.get("/hang")
        server.stderr.wait_for("/hang hanging")
        server.send_signal(number)
        server.stderr.wait_for("Shutting down", times=3)
        server.insist(number)
        server.judge_end()
        assert server.stderr.lines_with("shutdown-deadline: ended GET /hang")
        assert len(server.stderr.lines_with("probe: lifespan ended")) == 2


def test_a_second_signal_does_not_wait_for_a_wedged_worker(backend: Flavour) -> None:
    """It is killed, and where it stood goes to the log, before the supervisor ends."""
    with serve_with_workers("probe:app", backend, errors_expected=True) as server, RawClient(server.address) as client:
        client.get("/wedge")
        server.stderr.wait_for("/wedge wedged")
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("Shutting down (SIGTERM)", times=2)      # the supervisor, and the worker that can
        server.insist(signal.SIGTERM)
        server.judge_end(errors_expected=True)
        assert server.stderr.lines_with("is killed: it did not stop in time")
        assert server.stderr.lines_with("in wedge")


def test_a_third_signal_kills(backend: Flavour) -> None:
    with serve_with_workers("probe:app", backend, errors_expected=True) as server, RawClient(server.address) as client:
        client.get("/wedge")
        server.stderr.wait_for("/wedge wedged")
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("Shutting down (SIGTERM)", times=2)      # the supervisor, and the worker that can
        server.insist(signal.SIGTERM)
        server.stderr.wait_for("SIGTERM again")
        server.insist(signal.SIGTERM)
        server.judge_end(errors_expected=True)


def test_workers_end_when_the_supervisor_is_killed(backend: Flavour) -> None:
    """A request in progress is finished, all the same."""
    with serve_with_workers("probe:app", backend) as server, RawClient(server.address) as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst")
        server.stderr.wait_for("/echo entered")
        os.kill(server.pid, signal.SIGKILL)
        server.stderr.wait_for("Shutting down (the supervisor has gone)", times=2)
        client.send(b" last")
        assert client.receive_response().body == b"first last"
        assert server.wait_exit() == -signal.SIGKILL                    # and the pipes of all processes are closed
        assert len(server.stderr.lines_with("probe: lifespan ended")) == 2


def test_a_wedged_worker_ends_when_there_is_no_supervisor(backend: Flavour) -> None:
    with serve_with_workers("probe:app", backend, "--timeout-graceful-shutdown", "0.5") as server, \
         RawClient(server.address) as client:
        client.get("/wedge")
        server.stderr.wait_for("/wedge wedged")
        os.kill(server.pid, signal.SIGKILL)
        assert server.wait_exit() == -signal.SIGKILL


def test_an_address_in_use(backend: Flavour) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, \
         starting("probe:app", backend, "--port", str(other.getsockname()[1])) as server:
        assert server.wait_exit() == 3
        assert "the port is in use" in server.stderr.text
        assert not server.stderr.lines_with("lifespan")
