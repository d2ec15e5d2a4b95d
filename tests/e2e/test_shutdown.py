"""SIGTERM and SIGINT: who is being served is served, the lifespan ends properly, and it all takes bounded time."""

import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.helpers.raw_http import RawClient, fetch
from tests.helpers.server_process import Flavour, ServerProcess, serve

OF_A_BUSY_MACHINE = (
    "Executing <",                                              # asyncio's development mode: a slow callback
    "WARNING:  The process ends without waiting any longer",    # Python itself takes half a second for its end
)
BOTH_SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])


@pytest.fixture
def server(loop: Flavour) -> Iterator[ServerProcess]:
    with serve("probe:app", loop) as server:
        yield server


@pytest.fixture
def impatient_server(loop: Flavour) -> Iterator[ServerProcess]:
    """Two seconds for everything, a tenth of them for the lifespan."""
    with serve("probe:app", loop, "--timeout-graceful-shutdown", "2") as server:
        yield server


def judge(server: ServerProcess, number: signal.Signals = signal.SIGTERM) -> None:
    """The server ends by itself, with code 0 and after the lifespan, and before its graceful time of 30 seconds."""
    server.judge_end()
    lines = [line for line in server.stderr.text.splitlines() if not line.startswith(OF_A_BUSY_MACHINE)]
    assert lines[-1].endswith("Stopped")
    assert lines[-2] == "probe: lifespan ended"
    assert server.stderr.lines_with(f"Shutting down ({number.name})")


@BOTH_SIGNALS
def test_idle_connections_are_closed(server: ServerProcess, number: signal.Signals) -> None:
    with RawClient(server.address) as used, RawClient(server.address) as unused:
        used.get("/hello")
        assert used.receive_response().status == 200
        server.send_signal(number)
        assert used.is_closed()
        assert unused.is_closed()
        judge(server, number)


@BOTH_SIGNALS
def test_a_request_in_progress_is_finished(server: ServerProcess, number: signal.Signals) -> None:
    with RawClient(server.address) as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst")
        server.stderr.wait_for("/echo entered")
        server.send_signal(number)
        server.stderr.wait_for("Shutting down")
        with pytest.raises(OSError), RawClient(server.address) as late:       # refused, or reset at once
            late.get("/hello")
            late.receive_exactly(1)
            raise OSError("the server answered a request that came too late")
        client.send(b" last")
        response = client.receive_response()
        assert response.body == b"first last"
        assert response.headers["connection"] == "close"
        assert client.is_closed()
        judge(server, number)


def test_a_response_in_progress_is_finished(server: ServerProcess) -> None:
    """The head has promised to keep the connection; it is closed all the same."""
    with RawClient(server.address) as client:
        client.send(b"POST /mirror HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst")
        head = client.receive_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert client.receive_chunk() == b"first"
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("Shutting down")
        client.send(b" last")
        assert client.receive_chunk() == b" last"
        assert client.receive_chunk() == b""
        assert client.is_closed()
        judge(server)


def test_a_pipelined_request_is_answered_or_left_alone(server: ServerProcess) -> None:
    """Or left alone, which a client can tell from the end of the connection; not answered in part."""
    with RawClient(server.address) as client:
        client.send(b"POST /mirror HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst")
        assert b"first" in client.receive_until(b"first\r\n")
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("Shutting down")
        client.send(b" lastGET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.receive_until(b"0\r\n\r\n")
        answer = client.receive_all()
    assert answer == b"" or b"Hello, world!" in answer      # RFC 9112 §9.6: it may be left unanswered
    judge(server)


def test_a_request_already_in_the_socket_is_answered(server: ServerProcess) -> None:
    """The server, stopped for a moment, finds the request and the signal at once."""
    with RawClient(server.address) as client:
        client.get("/hello")
        assert client.receive_response().status == 200
        server.send_signal(signal.SIGSTOP)
        client.get("/hello")
        server.send_signal(signal.SIGTERM)
        server.send_signal(signal.SIGCONT)
        assert client.receive_response().body == b"Hello, world!"
        assert client.is_closed()
        judge(server)


def test_a_request_already_in_the_backlog_is_answered(server: ServerProcess) -> None:
    """The kernel has told this client that it is connected."""
    server.send_signal(signal.SIGSTOP)
    with RawClient(server.address) as client:
        client.get("/hello")
        server.send_signal(signal.SIGTERM)
        server.send_signal(signal.SIGCONT)
        assert client.receive_response().body == b"Hello, world!"
        judge(server)


@BOTH_SIGNALS
def test_whoever_is_not_finished_at_the_deadline_is_cancelled(
    impatient_server: ServerProcess, number: signal.Signals
) -> None:
    """A request that hangs; an event stream ends before that, visibly cut short, so browsers connect again."""
    server = impatient_server
    with RawClient(server.address) as hanging, RawClient(server.address) as listening:
        hanging.get("/hang")
        listening.get("/events")
        server.stderr.wait_for("/hang hanging")
        assert listening.receive_until(b"data: tick\n\n")
        server.send_signal(number)
        with suppress(ConnectionResetError):
            assert not listening.receive_all().endswith(b"\r\n0\r\n\r\n")
        assert hanging.is_closed()
        judge(server, number)
    for path, where, reason in (("/hang", "(hang)", "shutdown-deadline"), ("/events", "(events)", "shutdown")):
        server.stderr.wait_for(f"{path} cancelled")
        line = server.stderr.wait_for(f"{reason}: ended GET {path} after ")
        assert "probe.py" in line
        assert f" {where} [" in line  # and the request's name


def test_a_client_that_does_not_read_is_not_waited_for(impatient_server: ServerProcess) -> None:
    with RawClient(impatient_server.address, receive_buffer=4096) as client:
        client.get("/endless")
        assert client.receive_exactly(1000)
        impatient_server.send_signal(signal.SIGTERM)
        judge(impatient_server)


@BOTH_SIGNALS
def test_a_second_signal_forces(server: ServerProcess, number: signal.Signals) -> None:
    """The graceful time is 30 seconds; the lifespan ends properly nevertheless."""
    with RawClient(server.address) as client:
        client.get("/hang")
        server.stderr.wait_for("/hang hanging")
        server.send_signal(number)
        server.stderr.wait_for("Shutting down")
        server.insist(number)
        server.stderr.wait_for(f"{number.name} again")
        assert client.is_closed()
        judge(server, number)
    server.stderr.wait_for("shutdown-deadline: ended GET /hang after ")


def test_the_other_signal_forces_too(server: ServerProcess) -> None:
    with RawClient(server.address) as client:
        client.get("/hang")
        server.stderr.wait_for("/hang hanging")
        server.send_signal(signal.SIGINT)
        server.stderr.wait_for("Shutting down")
        server.insist(signal.SIGTERM)
        judge(server, signal.SIGINT)


def test_a_lifespan_that_does_not_end(loop: Flavour) -> None:
    with serve("probe:never_ending", loop, "--timeout-graceful-shutdown", "1", errors_expected=True) as server:
        assert fetch(server.address, "/hello").status == 200
        server.send_signal(signal.SIGTERM)
        server.judge_end(errors_expected=True)
        server.stderr.wait_for("shutdown-deadline: the application's lifespan did not end in time")


def test_shutdown_delay(loop: Flavour) -> None:
    """A load balancer has not noticed yet: its requests are served, and each is the last on its connection."""
    with serve("probe:app", loop, "--shutdown-delay", "60") as server:
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("Accepting connections for 60 s more")
        for _ in range(3):
            assert fetch(server.address, "/hello").status == 200
        server.insist(signal.SIGTERM)  # who does not want to wait any longer
        judge(server)


def test_a_maximum_of_requests(loop: Flavour) -> None:
    with serve("probe:app", loop, "--limit-max-requests", "3") as server:
        for _ in range(3):
            assert fetch(server.address, "/hello").status == 200
        server.judge_end()
        server.stderr.wait_for("Shutting down (limit-max-requests)")
        assert server.stderr.lines_with("probe: lifespan ended")


def test_the_access_log_is_complete(server: ServerProcess) -> None:
    """Lines are written in batches; the last batch is not lost."""
    for _ in range(5):
        assert fetch(server.address, "/hello").status == 200
    server.send_signal(signal.SIGTERM)
    judge(server)
    assert len(server.stdout.lines_with('"GET /hello HTTP/1.1" 200 OK 13 B')) == 5
