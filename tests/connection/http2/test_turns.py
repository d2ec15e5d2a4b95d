"""What the streams of one connection have to say in one turn of the event loop leaves in one write."""

from typing import Any

import anyio
import pytest

from tests.helpers.apps import reply
from tests.helpers.http2_client import Http2Client
from tests.helpers.loopback import SOCKET_KINDS, fixtures_over, serving_on_loopback
from tests.helpers.stream_pairs import Kind, Peer, eventually
from tests.helpers.ws_client import accept
from trioserve._streams.cork import CORK_SECONDS, Corkable
from trioserve._types import Receive, Scope, Send

kind, anyio_backend = fixtures_over([kind for kind in SOCKET_KINDS if not kind.tls])


class OverSocket:
    """A peer, as far as a client asks it."""

    def __init__(self, peer: Peer) -> None:
        self.send_all = peer.send
        self.receive_some = peer.receive


class Sends:
    """Counts what is handed to the sockets of the server."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        send_nowait = Corkable.send_nowait

        def counted(stream: Any, data: bytes) -> None:
            self.count += 1
            send_nowait(stream, data)

        monkeypatch.setattr(Corkable, "send_nowait", counted)


async def until_server_waits(client: Http2Client) -> None:
    """The holder of the connection has come to wait for what the client says next."""
    for count in (1, 2):  # the client acknowledges the server's settings with the first, or before it
        client.h2.ping(b"is there")
        await client.say()
        while client.pongs < count:
            await client.listen()


class Clock:
    """Stands in for ``time.perf_counter``: turns are short on the slowest machine, too."""

    def __init__(self) -> None:
        self.now = 0.0  # seconds

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("trioserve._streams.cork.perf_counter", clock)
    return clock


@pytest.mark.parametrize("streams", [1, 2, 10])
async def test_answers_of_applications_that_have_waited(
    kind: Kind, streams: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    news = anyio.Event()
    waiting = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal waiting
        waiting += 1
        await news.wait()
        await reply(send, scope["path"].encode())

    async with serving_on_loopback(kind, app, http2=True) as site:
        over_socket: Any = OverSocket(site.connect())
        client = Http2Client(over_socket)
        asked = [client.prepare(f"/{number}") for number in range(streams)]
        await client.say()
        await eventually(lambda: waiting == streams)
        await until_server_waits(client)
        sends = Sends(monkeypatch)
        news.set()
        for number, stream in enumerate(asked):
            assert (await client.answer(stream)).body == b"/%d" % number
        assert sends.count == 1


async def test_answers_of_applications_that_compute_for_long(
    kind: Kind, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each lets those before it wait, and no longer than that."""
    streams = 5
    news = anyio.Event()
    waiting = 0
    sent_before: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal waiting
        waiting += 1
        await news.wait()
        clock.now += 2 * CORK_SECONDS  # it computes
        await reply(send, b"answer")
        sent_before.append(sends.count)

    async with serving_on_loopback(kind, app, http2=True) as site:
        over_socket: Any = OverSocket(site.connect())
        client = Http2Client(over_socket)
        asked = [client.prepare() for _ in range(streams)]
        await client.say()
        await eventually(lambda: waiting == streams)
        await until_server_waits(client)
        sends = Sends(monkeypatch)
        news.set()
        for stream in asked:
            assert (await client.answer(stream)).body == b"answer"
        assert sent_before == list(range(streams))


async def test_the_close_frame_of_a_websocket_whose_client_is_silent(kind: Kind) -> None:
    """Its stream is reset in the same turn, which would drop what has not left."""

    ended = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await ended.wait()
            await reply(send)
            return
        await accept(receive, send)
        assert (await receive())["type"] == "websocket.disconnect"
        ended.set()

    async with serving_on_loopback(kind, app, http2=True, ws_ping_interval=0.05, ws_ping_timeout=0.05) as site:
        over_socket: Any = OverSocket(site.connect())
        client = Http2Client(over_socket)
        await client.say()
        await client.listen()  # the server's settings allow it
        tunnel = client.prepare(
            method=b"CONNECT", protocol=b"websocket", fields=[(b"sec-websocket-version", b"13")], ends=False)
        beside = client.prepare()
        await client.say()
        answer = await client.answer(tunnel)
        assert answer.body.endswith(b"keep-alive ping timeout")
        assert (await client.answer(beside)).status == 200
