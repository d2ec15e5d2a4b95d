"""Slow, greedy and hostile peers: memory stays bounded, nobody waits for ever, nobody else notices."""

import tracemalloc
import zlib
from typing import Any

import anyio
import pytest

from tests.helpers.serving import Site, serving
from tests.helpers.transcripts import get, ok, receive_response, status_of
from tests.helpers.ws_client import accept, echo, handshake, open_websocket, receive_until_disconnect, the_websocket
from tests.helpers.ws_frames import BINARY, CONTINUATION, PING, TEXT, close_frame, frame
from trioserve import ClientDisconnected
from trioserve._types import Message, Receive, Scope, Send
from trioserve.testing import seconds_passed, settled

DEFLATE = "sec-websocket-extensions: permessage-deflate"


class Flood:
    """Sends without end, and counts."""

    def __init__(self, size: int, *, in_a_child: bool = False) -> None:
        self.size = size
        self.in_a_child = in_a_child
        self.sent = 0
        self.raised: list[BaseException] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 204})
            await send({"type": "http.response.body"})
            return
        await accept(receive, send)
        if not self.in_a_child:
            await self.flood(send)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.flood, send)

    async def flood(self, send: Send) -> None:
        try:
            while True:
                await send({"type": "websocket.send", "bytes": b"x" * self.size})
                self.sent += 1
        except BaseException as exc:
            self.raised.append(exc)
            raise


async def held_by_server(site: Site) -> int:
    """Bytes that wait for the one client there is."""
    http1, websocket = the_websocket(site)
    assert websocket._frames is not None
    return http1.stream.unsent + sum(map(len, websocket._frames.pieces))


# -- a slow peer stops send() ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_a_child", [False, True])
@pytest.mark.parametrize("size", [1, 1000, 100_000])
async def test_a_peer_that_does_not_read_stops_the_application(size: int, in_a_child: bool) -> None:
    app = Flood(size, in_a_child=in_a_child)
    async with serving(app, timeout_write=30) as site:
        client = await open_websocket(site)
        await settled()
        stopped_at = app.sent
        assert await held_by_server(site) <= 200_000 + size
        await client.stream.receive_exactly(10_000)
        await anyio.sleep(1)
        assert app.sent <= stopped_at + 300_000 // size + 1
        await anyio.sleep(100)
        assert site.connections == 0
    assert isinstance(app.raised[0], ClientDisconnected)


async def test_a_peer_that_reads_slowly_is_not_ended(caplog: pytest.LogCaptureFixture) -> None:
    app = Flood(10_000)
    async with serving(app, timeout_write=5, ws_ping_interval=3, ws_ping_timeout=3) as site:
        client = await open_websocket(site)
        for _ in range(60):
            await anyio.sleep(1)
            await client.stream.receive_exactly(1000)
        assert site.connections == 1
        await client.stream.aclose()
    assert not caplog.records


async def test_the_write_timeout_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Flood(1000), timeout_write=5) as site:
        client = await open_websocket(site, target="/slow")
        await anyio.sleep(11)
        assert site.connections == 0
        assert client.stream.lost
    assert "write-timeout: ended GET /slow" in caplog.text


async def test_others_are_served_meanwhile() -> None:
    app = Flood(1)
    async with serving(app) as site:
        flooded = await open_websocket(site)

        async def read_all() -> None:
            await flooded.stream.receive_rest()

        async with anyio.create_task_group() as reading:
            reading.start_soon(read_all)
            for _ in range(3):
                assert status_of(await site.answer_to(get())) == 204
            await flooded.stream.aclose()


# -- an application that does not receive stops the peer ---------------------------------------------------------------


async def test_frames_before_the_handshake_is_answered_wait_in_the_network() -> None:
    events: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await anyio.sleep(10)
        await send({"type": "websocket.accept"})
        events.extend(await receive_until_disconnect(receive))

    async with serving(app) as site:
        client = site.connect()
        client.send_nowait(handshake() + frame(BINARY, b"x" * 1000) * 1000 + close_frame(1000))
        await anyio.sleep(5)
        assert client.unsent > 800_000
        await client.receive_until(b"\r\n\r\n")
        await client.receive_rest()
        await client.aclose()
    assert len(events) == 1001


# -- floods ------------------------------------------------------------------------------------------------------------


async def test_a_peer_that_pings_without_end_and_reads_nothing() -> None:
    async with serving(echo, timeout_write=30) as site:
        client = await open_websocket(site)
        async with anyio.create_task_group() as pinging:

            @pinging.start_soon
            async def ping() -> None:
                with pytest.raises(ClientDisconnected):
                    while True:
                        await client.send(frame(PING, b"x" * 125) * 100)

            await anyio.sleep(20)
            assert await held_by_server(site) < 200_000
            await anyio.sleep(15)
            assert site.connections == 0


async def test_a_peer_that_pings_without_end_does_not_keep_others_waiting() -> None:
    async with serving(echo) as site:
        client, other = await open_websocket(site), await open_websocket(site)
        async with anyio.create_task_group() as flooding:

            @flooding.start_soon
            async def ping() -> None:
                while True:
                    await client.send(frame(PING) * 10_000)

            @flooding.start_soon
            async def read() -> None:
                while True:
                    await client.stream.receive_some()

            for index in range(10):
                await other.text(str(index))
                assert await other.receive_text() == str(index)
            flooding.cancel_scope.cancel()
        await client.stream.aclose()
        await other.say_goodbye()


async def test_a_message_in_ten_thousand_fragments() -> None:
    async with serving(echo) as site:
        client = await open_websocket(site)
        wire = frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b", fin=False) * 10_000 + frame(CONTINUATION)
        await client.send(wire)
        assert await client.receive_text() == "a" + "b" * 10_000
        await client.say_goodbye()


async def test_a_compression_bomb() -> None:
    bomb = zlib.compress(b"\0" * (50 << 20), 9)[2:]
    async with serving(echo, ws_max_size=1 << 20) as site:
        client = await open_websocket(site, DEFLATE)
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            await client.send(frame(BINARY, bomb, rsv=4))
            assert await client.receive_close() == 1009
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak - before < 8 << 20
        await client.stream.aclose()


async def test_an_enormous_message_is_refused_by_its_header() -> None:
    events: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        events.extend(await receive_until_disconnect(receive))

    async with serving(app, ws_max_size=1000) as site:
        client = await open_websocket(site)
        await client.send(frame(BINARY, length=1 << 40))
        assert await client.receive_close() == 1009
        with pytest.raises(ClientDisconnected), seconds_passed() as elapsed:
            while True:
                await client.stream.send_all(b"x" * 10_000)
                await anyio.sleep(0.1)
        assert elapsed.seconds <= 6
    assert events[-1]["code"] == 1009


# -- silence -----------------------------------------------------------------------------------------------------------


async def test_a_handshake_that_does_not_come_to_its_end() -> None:
    async with serving(echo, timeout_header=10) as site:
        client = site.connect()
        with seconds_passed() as elapsed:
            for byte in handshake()[:-1]:
                client.send_nowait(bytes((byte,)))
                await anyio.sleep(0.1)
                if (answer := client.receive_nowait()) is not None:
                    break
        assert 10 <= elapsed.seconds < 10.2
        assert status_of(answer or b"") == 408
        with seconds_passed() as elapsed:
            await client.receive_rest()
        assert elapsed.seconds < 3


async def test_a_peer_that_does_not_answer_a_close_frame() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)

    async with serving(app) as site:
        client = await open_websocket(site)
        with seconds_passed() as elapsed:
            assert await client.receive_close() == 1000
            await client.stream.receive_rest()
        assert elapsed.seconds == 5
        assert client.stream.lost


async def test_a_peer_that_answers_a_close_frame_with_endless_messages() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)

    async with serving(app) as site:
        client = await open_websocket(site)
        with seconds_passed() as elapsed, pytest.raises(ClientDisconnected):
            while True:
                await client.send(frame(BINARY, b"x" * 1000))
                await anyio.sleep(0.1)
        assert elapsed.seconds <= 6


# -- requests in progress ----------------------------------------------------------------------------------------------


async def test_a_websocket_holds_no_slot_for_requests() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await echo(scope, receive, send)
        else:
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"free"})

    async with serving(app, limit_concurrency=1) as site:
        clients = [await open_websocket(site) for _ in range(3)]
        assert await site.answer_to(get()) == ok(b"free")
        for client in clients:
            await client.say_goodbye()
        assert await site.answer_to(get()) == ok(b"free")


async def test_a_handshake_holds_a_slot_until_it_is_answered() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(10)
        await send({"type": "websocket.accept"})

    async with serving(app, limit_concurrency=1) as site:
        first, second = site.connect(), site.connect()
        await first.send_all(handshake())
        await settled()
        await second.send_all(handshake())
        assert status_of(await receive_response(second)) == 503
        await first.receive_until(b"\r\n\r\n")
        await first.aclose()


@pytest.mark.parametrize("on_disconnect", ["notify", "cancel"])
async def test_the_request_timeout_ends_with_the_handshake(on_disconnect: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            await anyio.sleep(100)
        await echo(scope, receive, send)

    options: dict[str, Any] = {"timeout_request": 10, "on_disconnect": on_disconnect, "ws_ping_interval": None}
    async with serving(app, **options) as site:
        client = await open_websocket(site)
        await anyio.sleep(1000)
        await client.text("still there")
        assert await client.receive_text() == "still there"
        await client.say_goodbye()
        assert status_of(await site.everything_after(handshake(target="/slow"))) == 504


async def test_a_client_that_leaves_cancels_a_handshake_but_not_a_websocket() -> None:
    ended: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["path"] == "/accepting":
                await send({"type": "websocket.accept"})
            await anyio.sleep(100)
            ended.append("finished")
        except BaseException:
            ended.append("cancelled")
            raise

    async with serving(app, on_disconnect="cancel") as site:
        for target in ("/accepting", "/waiting"):
            client = site.connect()
            await client.send_all(handshake(target=target))
            await anyio.sleep(1)
            await client.aclose()
        await anyio.sleep(200)
    assert ended == ["cancelled", "finished"]
