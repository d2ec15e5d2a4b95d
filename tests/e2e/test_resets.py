"""Clients that leave, at every point of a request and in both manners; nothing of them stays."""

import sys
from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest

from tests.helpers.raw_http import RawClient, fetch
from tests.helpers.server_process import Flavour, ServerProcess, serve, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts the server's descriptors in /proc")

ROUNDS = 10

Leave: TypeAlias = Callable[[RawClient], None]
Point: TypeAlias = Callable[[RawClient, ServerProcess, str], None]


@pytest.fixture(scope="module")
def server(loop: Flavour) -> Iterator[ServerProcess]:
    """An error in the log, such as a traceback for a client that left, fails the last test that uses it."""
    with serve("probe:app", loop) as server:
        yield server


@pytest.fixture(params=["reset", "close"])
def leave(request: pytest.FixtureRequest) -> Leave:
    return RawClient.reset if request.param == "reset" else RawClient.close


def after_connect(client: RawClient, server: ServerProcess, token: str) -> None:
    pass


def in_head(client: RawClient, server: ServerProcess, token: str) -> None:
    client.send(b"GET /hello HTTP/1.1\r\nHo")


def after_head(client: RawClient, server: ServerProcess, token: str) -> None:
    client.send(f"POST /echo?token={token} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n".encode())
    server.stderr.wait_for(f"{token} entered")


def in_body(client: RawClient, server: ServerProcess, token: str) -> None:
    after_head(client, server, token)
    client.send(b"half of it")


def in_chunk(client: RawClient, server: ServerProcess, token: str) -> None:
    client.send(f"POST /echo?token={token} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nx".encode())
    server.stderr.wait_for(f"{token} entered")


def after_100_continue(client: RawClient, server: ServerProcess, token: str) -> None:
    client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n")
    assert client.receive_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"


def before_response(client: RawClient, server: ServerProcess, token: str) -> None:
    """Whole requests, no answer awaited."""
    client.send(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n" * 5)


def in_response(client: RawClient, server: ServerProcess, token: str) -> None:
    client.get(f"/endless?token={token}")
    client.receive_exactly(1_000_000)


def in_waiting_response(client: RawClient, server: ServerProcess, token: str) -> None:
    """The application waits for the client to leave."""
    client.get(f"/watch?token={token}")
    assert client.receive_until(b"watching")


def in_both_directions(client: RawClient, server: ServerProcess, token: str) -> None:
    client.send(b"POST /mirror HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
    assert client.receive_until(b"first")


def after_response(client: RawClient, server: ServerProcess, token: str) -> None:
    client.get("/hello")
    assert client.receive_response().status == 200


def after_refusal(client: RawClient, server: ServerProcess, token: str) -> None:
    client.send(b"GET /hello HTTP/9.9\r\n\r\n")
    assert client.receive_until(b"HTTP/1.1 ")


POINTS = [
    after_connect, in_head, after_head, in_body, in_chunk, after_100_continue, before_response, in_response,
    in_waiting_response, in_both_directions, after_response,
]


@pytest.mark.parametrize("point", POINTS, ids=[point.__name__ for point in POINTS])
def test_nothing_stays(server: ServerProcess, leave: Leave, point: Point) -> None:
    check_nothing_stays(server, leave, point)


def test_nothing_stays_of_a_refused_request(loop: Flavour, leave: Leave) -> None:
    """A server of its own: while the refusal lingers, the client is already gone."""
    with serve("probe:app", loop) as server:
        check_nothing_stays(server, leave, after_refusal)


def check_nothing_stays(server: ServerProcess, leave: Leave, point: Point) -> None:
    def count() -> tuple[int, int, int]:
        census = fetch(server.address, "/census").json()
        return census["tasks"], census["visits"], server.descriptors()

    def nothing_stays() -> bool:
        return all(now <= then for now, then in zip(count(), allowed, strict=True))

    tasks, visits, descriptors = count()
    allowed = tasks, visits, descriptors + 1  # uvloop opens a spare one with its first transport
    for number in range(ROUNDS):
        with RawClient(server.address) as client:
            point(client, server, f"{point.__name__}-{leave.__name__}-{number}")
            leave(client)
    assert fetch(server.address, "/hello").status == 200
    wait_until(nothing_stays, f"no more than {allowed} tasks, requests and descriptors")


def test_an_application_learns_of_each(server: ServerProcess, leave: Leave) -> None:
    for point, said in [
        (in_body, "disconnected"), (in_chunk, "disconnected"), (in_response, "ClientDisconnected"),
        (in_waiting_response, "http.disconnect"),
    ]:
        token = f"learns-{leave.__name__}-{point.__name__}"
        with RawClient(server.address) as client:
            point(client, server, token)
            leave(client)
        server.stderr.wait_for(f"{token} {said}")


def test_an_application_that_does_not_look_is_cancelled_when_asked_for(
    loop: Flavour, leave: Leave
) -> None:
    with serve("probe:app", loop, "--on-disconnect", "cancel") as server:
        for path in ("/hang", "/hang_midway", "/spin"):
            with RawClient(server.address) as client:
                client.get(path)
                server.stderr.wait_for(f"probe: {path} ")
                leave(client)
            server.stderr.wait_for(f"{path} cancelled")
            server.stderr.wait_for(f"client-disconnect: ended GET {path}")
