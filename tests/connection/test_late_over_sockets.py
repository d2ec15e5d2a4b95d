"""Clients that are served although their time is over: the loop was blocked, or they are slow. Real sockets."""

import time
from collections.abc import Callable
from typing import Any, Final

import anyio
import pytest

from tests.helpers.apps import read_body, reply
from tests.helpers.loopback import SOCKET_KINDS, Loopback, fixtures_over, receive_exactly, serving_on_loopback
from tests.helpers.stream_pairs import Kind, Peer, TlsPeer
from tests.helpers.transcripts import get, ok, post
from trioserve._types import Receive, Scope, Send

SHORT: Final = 0.6  # seconds: a timeout, within which a busy machine gets from one step of a test to the next
LONG: Final = 0.8  # seconds that the loop is blocked


kind, anyio_backend = fixtures_over(SOCKET_KINDS)


def send_at_once(peer: Peer, data: bytes) -> None:
    """Without the event loop."""
    if isinstance(peer, TlsPeer):
        peer.ssl.write(data)
        peer.inner.send_first(peer.outgoing.read())
    else:
        peer.send_first(data)


async def block_while_it_sends(site: Loopback, late: Peer, data: bytes) -> None:
    """The loop stands still; meanwhile ``late`` sends, and its time runs out."""
    site.meanwhile = lambda: send_at_once(late, data)  # type: ignore[attr-defined]
    blocking = site.connect()
    await blocking.send(get("/block"))
    await receive_exactly(blocking, len(ok(b"blocked")))


class Blocking:
    """Blocks the loop when it is asked to."""

    def __init__(self) -> None:
        self.site: Any = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/block":
            self.site.meanwhile()
            time.sleep(LONG)  # noqa: ASYNC251  # that is the point
            await reply(send, b"blocked")
        else:
            await reply(send, scope["path"].encode() + await read_body(receive))


Prepare = Callable[[Peer], Any]


async def one_request(peer: Peer) -> None:
    await peer.send(get("/a"))
    assert await receive_exactly(peer, len(ok(b"/a"))) == ok(b"/a")


async def half_a_head(peer: Peer) -> None:
    await peer.send(get("/b")[:10])


async def one_request_and_half_a_head(peer: Peer) -> None:
    await one_request(peer)
    await half_a_head(peer)


async def half_a_body(peer: Peer) -> None:
    await peer.send(post(b"half", target="/b", length=8))


LATE = [
    (one_request, get("/b"), b"/b"),
    (half_a_head, get("/b")[10:], b"/b"),
    (one_request_and_half_a_head, get("/b")[10:], b"/b"),
    (half_a_body, b"half", b"/bhalfhalf"),
]


@pytest.mark.parametrize(("prepare", "data", "answer"), LATE, ids=[case[0].__name__ for case in LATE])
async def test_what_came_while_the_loop_was_blocked_is_served(
    kind: Kind, prepare: Prepare, data: bytes, answer: bytes
) -> None:
    app = Blocking()
    options = {"timeout_keep_alive": SHORT, "timeout_header": SHORT, "timeout_body": SHORT}
    async with serving_on_loopback(kind, app, **options) as site:
        app.site = site
        late = site.connect()
        await late.open()
        await prepare(late)
        await block_while_it_sends(site, late, data)
        assert await receive_exactly(late, len(ok(answer))) == ok(answer)


async def test_the_beginning_of_a_head_that_came_while_the_loop_was_blocked(kind: Kind) -> None:
    """It ends the wait for a request; for the rest of it there is the time that each head has."""
    app = Blocking()
    async with serving_on_loopback(kind, app, timeout_keep_alive=SHORT, timeout_header=30) as site:
        app.site = site
        late = site.connect()
        await one_request(late)
        await block_while_it_sends(site, late, get("/b")[:10])
        await anyio.sleep(LONG)
        await late.send(get("/b")[10:])
        assert await receive_exactly(late, len(ok(b"/b"))) == ok(b"/b")


LARGE: Final = b"x" * 3_000_000
STEPS: Final = 200  # in which it is read


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    await reply(send, LARGE)


async def read_slowly(peer: Peer, count: int) -> bytes:
    received = bytearray()
    for _ in range(STEPS):
        received += await receive_exactly(peer, count // STEPS)
        await anyio.sleep(LONG / STEPS)
    received += await receive_exactly(peer, count % STEPS)
    return bytes(received)


@pytest.mark.parametrize("stop", [False, True], ids=["running", "stopping"])
async def test_slow_clients_get_all_of_a_large_response(kind: Kind, stop: bool) -> None:
    """They read for longer than an idle connection may stay, together, so that responses are held for each other."""
    expected = ok(LARGE)
    whole: list[bool] = []

    async def visit(peer: Peer, begin: bytes) -> None:
        with anyio.CancelScope(shield=True):  # the server is stopped by a cancellation
            received = begin + await read_slowly(peer, len(expected) - len(begin))
            whole.append(received == expected)

    async with serving_on_loopback(kind, large, timeout_keep_alive=SHORT, timeout_graceful_shutdown=40) as site:
        peers = [site.connect() for _ in range(8)]
        for peer in peers:
            await peer.open()
        async with anyio.create_task_group() as visitors:
            for peer in peers:
                await peer.send(get())
            for peer in peers:
                visitors.start_soon(visit, peer, await receive_exactly(peer, 100))
            if stop:
                site.stop()
    assert whole == [True] * 8
