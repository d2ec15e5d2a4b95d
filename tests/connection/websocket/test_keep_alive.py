"""Keep-alive pings of a WebSocket, and the time that its client has for an answer."""

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.serving import serving
from tests.helpers.ws_apps import Busy, idle
from tests.helpers.ws_client import accept, echo, open_websocket, the_websocket
from tests.helpers.ws_frames import BINARY, PING, PONG, TEXT, Frame, close_frame, frame
from trioserve._types import Receive, Scope, Send
from trioserve.testing import seconds_passed, settled


async def test_an_idle_client_is_pinged() -> None:
    async with serving(echo, ws_ping_interval=20, ws_ping_timeout=5) as site:
        client = await open_websocket(site)
        for _ in range(3):
            with seconds_passed() as elapsed:
                assert await client.receive() == Frame(PING, b"")
            assert elapsed.seconds == 20
            await client.send(frame(PONG))
        await client.say_goodbye()


@pytest.mark.parametrize(("interval", "patience", "seconds"), [(20, 5, 25), (5, 20, 25), (20, 20, 40)])
@pytest.mark.parametrize("app", [echo, idle])
async def test_a_client_that_gives_no_sign_of_life_is_dropped(
    app: Any, interval: float, patience: float, seconds: float
) -> None:
    async with serving(app, ws_ping_interval=interval, ws_ping_timeout=patience) as site:
        with seconds_passed() as elapsed:
            client = await open_websocket(site)
            ping, close = await client.receive_rest()
        assert elapsed.seconds == seconds
        assert (ping.opcode, close.close_code) == (PING, 1011)
        assert client.stream.lost


async def test_the_application_is_told_of_a_loss() -> None:
    app = Busy(0)
    async with serving(app) as site:
        await open_websocket(site)
        await anyio.sleep(100)
        assert site.connections == 0
    assert app.end == (1006, "keep-alive ping timeout")


@pytest.mark.parametrize("sign", [frame(PONG), frame(PONG, b"unasked"), frame(TEXT, b"a"), frame(PING), b"\x81"])
async def test_whatever_arrives_is_a_sign_of_life(sign: bytes) -> None:
    async with serving(Busy(0), ws_ping_interval=20, ws_ping_timeout=5) as site:
        client = await open_websocket(site)
        await anyio.sleep(24)
        await client.send(sign)
        await anyio.sleep(10)
        assert site.connections == 1
        await anyio.sleep(20)
        assert site.connections == 0


async def test_a_client_that_only_listens_is_served() -> None:
    async def ticker(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        for _ in range(100):
            await anyio.sleep(1)
            await send({"type": "websocket.send", "text": "tick"})

    async with serving(ticker) as site:
        client = await open_websocket(site)
        ticks = 0
        while ticks < 100:
            received = await client.receive()
            if received.opcode == PING:
                await client.send(frame(PONG, received.payload))
            else:
                ticks += 1
        await client.close(1000)
        await client.receive_rest()
        await client.stream.aclose()


async def test_pings_can_be_switched_off() -> None:
    async with serving(echo, ws_ping_interval=None) as site:
        client = await open_websocket(site)
        await anyio.sleep(10_000)
        await client.text("still there")
        assert await client.receive_text() == "still there"
        await client.say_goodbye()


async def test_pings_without_a_deadline() -> None:
    async with serving(echo, ws_ping_interval=20, ws_ping_timeout=None) as site:
        client = await open_websocket(site)
        await anyio.sleep(1000)
        await client.text("still there")
        assert await client.receive() == Frame(PING, b"")
        await client.stream.receive_some()
        await client.say_goodbye()


async def test_after_the_close_frame_there_are_no_pings() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await send({"type": "websocket.close"})

    async with serving(app, ws_ping_interval=1, ws_ping_timeout=1) as site:
        client = await open_websocket(site)
        with seconds_passed() as elapsed:
            [close] = await client.receive_rest()
        assert (close.close_code, elapsed.seconds) == (1000, 5)  # the answer to a close frame has its own time
        assert client.stream.lost


async def test_an_answer_that_is_there_when_the_time_is_over_counts() -> None:
    """As after the server itself was stopped for a while."""
    async with serving(Busy(0), ws_ping_interval=20, ws_ping_timeout=5) as site:
        client = await open_websocket(site)
        assert await client.receive() == Frame(PING, b"")
        await settled()
        _, websocket = the_websocket(site)
        assert websocket._frames is not None
        client.stream.send_nowait(frame(PONG))
        websocket._frames._keep_alive.on_timeout("pong")
        await settled()
        assert site.connections == 1
        await client.say_goodbye()


async def test_a_close_that_is_there_when_the_time_is_over_counts() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)

    async with serving(app) as site:
        client = await open_websocket(site)
        assert await client.receive_close() == 1000
        await settled()
        _, websocket = the_websocket(site)
        assert websocket._frames is not None
        client.stream.send_nowait(close_frame(1000))
        websocket._frames._closing.on_timeout("close")
        await settled()
        assert websocket.end_reason == ""
        assert await client.receive_rest() == []
        assert site.connections == 0


async def says_much(scope: Scope, receive: Receive, send: Send) -> None:
    """And closes at once: the client has most of it still to take."""
    await accept(receive, send)
    for _ in range(3):
        await send({"type": "websocket.send", "bytes": b"x" * 10_000})
    await send({"type": "websocket.close", "code": 4000})


async def test_the_time_for_an_answer_begins_when_the_client_has_come_to_the_close_frame() -> None:
    async with serving(says_much, ws_ping_interval=None) as site:
        client = await open_websocket(site)
        for _ in range(3):
            await anyio.sleep(12)  # longer than the answer may take
            assert await client.receive() == Frame(BINARY, b"x" * 10_000)
        assert await client.receive_close() == 4000
        await anyio.sleep(4.9)
        await client.close(4000)
        assert await client.receive_rest() == []
        assert not client.stream.lost


async def test_a_client_that_takes_nothing_before_a_close_frame_is_given_up() -> None:
    async with serving(says_much, timeout_write=None) as site:
        client = await open_websocket(site)
        with seconds_passed() as elapsed:
            await client.stream.wait_disconnected()
        assert 30 <= elapsed.seconds <= 36  # it may have taken something together with the handshake's answer
        assert client.stream.lost
