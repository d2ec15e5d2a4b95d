"""One client's flood does not keep another one waiting: turns and work are counted here, not time."""

import itertools
import zlib
from collections.abc import Callable
from typing import Any, Final

import anyio.lowlevel
import pytest

from tests.helpers.serving import Site, serving
from tests.helpers.transcripts import get, ok, receive_response
from tests.helpers.ws_client import handshake, receive_until_disconnect
from tests.helpers.ws_frames import BINARY, CONTINUATION, PING, TEXT, frame
from trioserve._asgi import websocket as session_module
from trioserve._connection import turn
from trioserve._connection.turn import TURN_SECONDS
from trioserve._connection.websocket.frames import LOOK_WORK
from trioserve._protocol.http1.chunked_body import CHUNKS_AT_ONCE
from trioserve._protocol.websocket.codec import WebSocketCodec
from trioserve._protocol.websocket.frame_reader import PIECE_BYTES, PIECE_COST, WORK_PER_CALL
from trioserve._streams.memory import MemoryClient
from trioserve._types import Receive, Scope, Send

pytestmark = pytest.mark.no_cover  # what they reach other tests reach, and tracing would double their time

FLOODS: Final = 4
FLOOD_BYTES: Final = 512 * 1024
LOOKS_PER_TURN: Final = 4
TURNS: Final = 6  # until a request is answered; without floods it takes as many


def packed(size: int) -> bytes:
    """A compressed message of so many zeros (RFC 7692 §7.2.1)."""
    compressor = zlib.compressobj(9, wbits=-15)
    return (compressor.compress(bytes(size)) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


CHUNKED = get("/", "transfer-encoding: chunked")
UPGRADE = handshake("sec-websocket-extensions: permessage-deflate; client_no_context_takeover")
WEBSOCKET_FLOODS = {
    "empty fragments": frame(TEXT, b"", fin=False) + frame(CONTINUATION, b"", fin=False) * (FLOOD_BYTES // 6),
    "empty messages": frame(TEXT) * (FLOOD_BYTES // 6),
    "pings": frame(PING) * (FLOOD_BYTES // 6),
    "small bombs": frame(BINARY, packed(60_000), rsv=4) * (FLOOD_BYTES // 80),
    "large bombs": frame(BINARY, packed(1_000_000), rsv=4) * (FLOOD_BYTES // 1000),
}


class App:
    """Takes all that comes, and counts the bytes of uploads."""

    def __init__(self, *, receives: bool = True) -> None:
        self.receives = receives
        self.body_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            if self.receives:
                await receive_until_disconnect(receive)
            return
        more_body = True
        while more_body:
            event = await receive()
            self.body_bytes += len(event.get("body", b""))
            more_body = event.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


async def turns_until_answer(client: MemoryClient) -> int:
    """Of the scheduler, in each of which every task has run that could."""
    client.send_nowait(get())
    for turns in itertools.count():
        if (answer := client.receive_nowait()) is not None:
            assert answer == ok(b"ok")
            return turns
        await anyio.lowlevel.checkpoint()
    raise AssertionError


async def beside_floods(site: Site, begin: bytes, flood: bytes, work: Callable[[], int]) -> int:
    """The ``work`` of a turn, while requests are answered and ``FLOODS`` connections have ``flood`` to be read."""
    polite = site.connect()
    await polite.send_all(get())
    await receive_response(polite)
    floods = [site.connect() for _ in range(FLOODS)]
    for client in floods:
        await client.send_all(begin)
        if begin is UPGRADE:
            await client.receive_until(b"\r\n\r\n")
    for client in floods:
        client.send_nowait(flood)
    turns = [await turns_until_answer(polite) for _ in range(5)]
    assert max(turns) <= TURNS
    work_per_turn = work() // (sum(turns) + len(turns))
    assert any(client.untaken() for client in floods), "it goes on"
    for client in floods:
        client._outgoing.drop_all()  # nobody has to read the rest
        client.abort()
    return work_per_turn


def limit_turns_to_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock costs a part of the turn."""
    clock = itertools.count(1.0, TURN_SECONDS / (LOOKS_PER_TURN - 1))
    monkeypatch.setattr(turn, "perf_counter", lambda: next(clock))


async def test_an_upload_of_very_small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    limit_turns_to_looks(monkeypatch)
    app = App()
    async with serving(app, capacity=2 * FLOOD_BYTES) as site:
        chunks = await beside_floods(site, CHUNKED, b"1\r\nx\r\n" * (FLOOD_BYTES // 6), lambda: app.body_bytes)
    assert 0 < chunks <= FLOODS * LOOKS_PER_TURN * CHUNKS_AT_ONCE


@pytest.mark.parametrize("flood", WEBSOCKET_FLOODS.values(), ids=WEBSOCKET_FLOODS)
@pytest.mark.parametrize("receives", [True, False])
async def test_frames_without_end(flood: bytes, receives: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read for an application that receives, and for one that has returned: then the server waits for the end."""
    limit_turns_to_looks(monkeypatch)
    codecs: list[WebSocketCodec] = []

    def watched(*args: Any) -> WebSocketCodec:
        codecs.append(WebSocketCodec(*args))
        return codecs[-1]

    monkeypatch.setattr(session_module, "WebSocketCodec", watched)
    async with serving(App(receives=receives), capacity=2 * FLOOD_BYTES) as site:
        work = await beside_floods(site, UPGRADE, flood, lambda: sum(codec.work for codec in codecs))
    one_look = LOOK_WORK + WORK_PER_CALL + PIECE_COST + PIECE_BYTES
    assert 0 < work <= FLOODS * LOOKS_PER_TURN * one_look
