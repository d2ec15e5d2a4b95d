"""Clients that take their time, or take nothing at all: each wait ends, and nobody else has to wait for it."""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.helpers.raw_http import MEBIBYTE, RawClient, drip, fetch, push_until_stuck
from tests.helpers.server_process import Flavour, ServerProcess, serve, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads the server's memory from /proc")

BODY = b"POST /echo?token=%s HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"


@pytest.fixture(scope="module")
def server(loop: Flavour) -> Iterator[ServerProcess]:
    """A client of these tests that goes on does so within a second, on a busy machine, too."""
    options = ["--timeout-header=1", "--timeout-body=2", "--timeout-write=2", "--log-level=debug"]
    with serve("probe:app", loop, *options) as server:
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[RawClient]:
    with RawClient(server.address) as client:
        yield client


def test_header_drip(client: RawClient) -> None:
    client.send(b"GET /hello HTTP/1.1\r\n")
    assert drip(client, b"X-Name: value\r\n", 0.05) > 0.9
    response = client.receive_response()
    assert response.status == 408
    assert response.headers["connection"] == "close"
    assert client.is_closed()


def test_header_drip_in_a_later_request(client: RawClient) -> None:
    client.get("/hello")
    assert client.receive_response().status == 200
    client.send(b"GET")
    assert drip(client, b"Y" * 100, 0.05) > 0.9
    assert client.receive_response().status == 408


def test_a_silent_connection_is_closed(client: RawClient) -> None:
    assert client.is_closed()


def test_many_silent_connections_and_an_idle_one_are_closed(loop: Flavour) -> None:
    """Their deadlines are microseconds apart: some pass while others are being dealt with."""
    options = ("--timeout-header=1", "--timeout-keep-alive=1")
    with serve("probe:app", loop, *options, python_options=()) as server, ExitStack() as connected:
        idle = connected.enter_context(RawClient(server.address))
        idle.get("/hello")
        assert idle.receive_response().status == 200
        silent = [connected.enter_context(RawClient(server.address)) for _ in range(600)]
        assert all(client.is_closed() for client in (idle, *silent))
        assert fetch(server.address, "/hello").status == 200


def test_a_body_that_does_not_come(client: RawClient, server: ServerProcess) -> None:
    client.send(BODY % b"stall" + b"some of it")
    response = client.receive_response()
    assert response.status == 408
    assert client.is_closed()
    server.stderr.wait_for("body-timeout: ended POST /echo?token=stall")
    server.stderr.wait_for("stall disconnected")


def test_body_drip(client: RawClient, server: ServerProcess) -> None:
    """Never silent for long, and slower than anybody is after the first five seconds."""
    client.send(BODY % b"drip")
    assert drip(client, b"x" * 100, 0.1) > 4.9
    assert client.receive_response().status == 408
    server.stderr.wait_for("drip disconnected")


def test_a_client_that_never_reads(server: ServerProcess) -> None:
    before = server.resident_bytes()
    with RawClient(server.address, receive_buffer=4096) as client:
        client.get("/endless?token=unread")
        server.stderr.wait_for("write-timeout: ended GET /endless?token=unread")
        server.stderr.wait_for("unread ClientDisconnected")
        assert server.resident_bytes() - before < 8 * MEBIBYTE
    assert fetch(server.address, "/hello").status == 200


def test_a_client_that_never_reads_a_long_pipeline(server: ServerProcess) -> None:
    """Thousands of answers to small requests, none of which is read."""
    before = server.resident_bytes()
    with RawClient(server.address, receive_buffer=4096) as client:
        push_until_stuck(client, b"GET /parts?count=10&size=5000 HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
        server.stderr.wait_for("write-timeout: ended GET /parts?count=10&size=5000")
        assert server.resident_bytes() - before < 8 * MEBIBYTE
    assert fetch(server.address, "/hello").status == 200


def test_a_client_that_reads_slowly_is_left_alone(server: ServerProcess) -> None:
    with RawClient(server.address, receive_buffer=65536) as client:
        client.get("/parts?count=200&size=50000&slow")
        deadline = time.monotonic() + 2.5
        received = 0
        while time.monotonic() < deadline:
            received += len(client.sock.recv(100_000))
            time.sleep(0.2)         # the point of it: longer than a moment, shorter than the timeout
        client.half_close()         # so that the end of the response is the end of the connection
        received += len(client.receive_all())
    assert received > 10_000_000
    assert not server.stderr.lines_with("&slow")


def test_an_upload_that_nobody_reads(server: ServerProcess) -> None:
    """The application waits for something else: the client has to wait, too."""
    before = server.resident_bytes()
    with RawClient(server.address) as client:
        client.send(b"POST /hold?token=upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
        server.stderr.wait_for("upload sleeps")
        push_until_stuck(client, b"x" * 65536)
        assert server.resident_bytes() - before < 8 * MEBIBYTE
    fetch(server.address, "/wake?token=upload")


def test_requests_pushed_while_one_runs(server: ServerProcess) -> None:
    before = server.resident_bytes()
    with RawClient(server.address) as client:
        client.get("/hold?token=pushed")
        server.stderr.wait_for("pushed sleeps")
        push_until_stuck(client, b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n" * 1000)
        assert server.resident_bytes() - before < 8 * MEBIBYTE
    fetch(server.address, "/wake?token=pushed")


# -- half-close ------------------------------------------------------------------------------------------------------


def test_half_close_after_a_request(client: RawClient) -> None:
    """As ``printf ... | nc`` does: the answer is still wanted."""
    client.get("/parts?count=300&size=10000")
    client.half_close()
    assert len(client.receive_response().body) == 3_000_000
    assert client.is_closed()


def test_half_close_after_several_requests(client: RawClient) -> None:
    client.send(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
    client.half_close()
    assert [client.receive_response().status for _ in range(3)] == [200, 200, 200]
    assert client.is_closed()


def test_half_close_in_a_head(client: RawClient) -> None:
    client.send(b"GET /hello HTTP/1.1\r\nHo")
    client.half_close()
    answer = client.receive_all()
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")


def test_half_close_in_a_body(client: RawClient, server: ServerProcess) -> None:
    """A body cut short is never taken for a whole one (RFC 9112 §8)."""
    client.send(BODY % b"half" + b"half of it")
    client.half_close()
    assert client.receive_response().status == 400
    assert client.is_closed()
    server.stderr.wait_for("half disconnected")


def test_half_close_of_an_idle_connection(client: RawClient, server: ServerProcess) -> None:
    client.get("/hello")
    client.receive_response()
    client.half_close()
    assert client.is_closed()


def test_nothing_is_left_of_them(server: ServerProcess) -> None:
    """Last in this file, so that it counts what the others left; alone, it says what a fresh server has."""
    def quiet() -> bool:
        census = fetch(server.address, "/census").json()
        return bool(census["visits"] == 1)

    wait_until(quiet, "requests of clients that have gone are over")
