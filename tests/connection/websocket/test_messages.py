"""Messages of a WebSocket, and a ping of its client (RFC 6455 §5.5, §5.6)."""

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.serving import serving
from tests.helpers.ws_apps import app_of
from tests.helpers.ws_client import accept, echo, handshake, open_websocket, receive_until_disconnect
from tests.helpers.ws_frames import BINARY, CONTINUATION, PING, PONG, TEXT, Frame, close_frame, frame, read_frames
from trioserve._connection import pace
from trioserve._types import Message, Receive, Send
from trioserve.testing import settled


async def test_messages_come_and_go() -> None:
    async with serving(echo) as site:
        client = await open_websocket(site)
        for opcode, payload in ((TEXT, "hellö".encode()), (BINARY, b"\0\xff"), (TEXT, b""), (BINARY, b"x" * 100_000)):
            await client.send(frame(opcode, payload))
            assert await client.receive() == Frame(opcode, payload)
        await client.say_goodbye()


async def test_events_have_text_or_bytes() -> None:
    events: list[Message] = []

    async def app(receive: Receive, send: Send) -> None:
        await accept(receive, send)
        events.extend(await receive_until_disconnect(receive))

    async with serving(app_of(app)) as site:
        client = await open_websocket(site)
        await client.send(frame(TEXT, b"a", fin=False), frame(CONTINUATION, b"b"), frame(BINARY, b"c"))
        await client.say_goodbye()
    assert events == [
        {"type": "websocket.receive", "text": "ab"}, {"type": "websocket.receive", "bytes": b"c"},
        {"type": "websocket.disconnect", "code": 1000, "reason": ""}]


async def messages_that_left_with_each_send(monkeypatch: pytest.MonkeyPatch, *pauses: float) -> list[bytes]:
    """An application sends ``0``, then after each of ``pauses`` seconds of computing the next number, and waits."""
    now = 1.0
    monkeypatch.setattr(pace, "perf_counter", lambda: now)
    left: list[bytes] = []

    async def app(receive: Receive, send: Send) -> None:
        nonlocal now
        await accept(receive, send)
        await receive()
        for index, pause in enumerate((0.0, *pauses)):
            now += pause
            await send({"type": "websocket.send", "text": str(index)})
            left.append(b"".join(read.payload for read in read_frames(client.stream.receive_nowait() or b"")))
        await receive()

    async with serving(app_of(app)) as site:
        client = await open_websocket(site)
        await client.text("go")
        await settled()
        left.append(b"".join(read.payload for read in read_frames(client.stream.receive_nowait() or b"")))
        await client.say_goodbye()
    return left


@pytest.mark.parametrize(("pauses", "left"), [
    ((0, 0, 0), [b"0", b"", b"", b"", b"123"]),  # the first leaves at once, those back to back together
    ((0.0004, 0.0004, 0.0004), [b"0", b"", b"", b"123", b""]),  # for a millisecond
    ((0.5, 0.5, 0.5), [b"0", b"1", b"2", b"3", b""]),  # who computes between messages sends each at once
    ((0, 0.5, 0, 0), [b"0", b"", b"12", b"3", b"4", b""])])  # and makes nobody wait twice
async def test_messages_leave_when_they_are_sent(
    pauses: tuple[float, ...], left: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await messages_that_left_with_each_send(monkeypatch, *pauses) == left


async def test_after_waiting_the_first_message_leaves_at_once_again() -> None:
    left: list[bytes | None] = []

    async def app(receive: Receive, send: Send) -> None:
        await accept(receive, send)
        while (await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": "at once"})
            left.append(client.stream.receive_nowait())

    async with serving(app_of(app)) as site:
        client = await open_websocket(site)
        for _ in range(3):
            await client.text("go")
            await settled()
        await client.say_goodbye()
    assert left == [b"\x81\x07at once"] * 3


async def test_a_message_does_not_wait_for_the_end_of_a_pause() -> None:
    async def app(receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await send({"type": "websocket.send", "text": "now"})
        await anyio.sleep(1000)

    async with serving(app_of(app)) as site:
        client = await open_websocket(site)
        with anyio.fail_after(1):
            assert await client.receive_text() == "now"
        await client.stream.aclose()


async def test_compression_is_agreed_on_unless_it_is_off() -> None:
    offer = "sec-websocket-extensions: permessage-deflate; client_max_window_bits"
    for on in (True, False):
        async with serving(echo, ws_per_message_deflate=on) as site:
            client = site.connect()
            await client.send_all(handshake(offer))
            head = await client.receive_until(b"\r\n\r\n")
            assert (b"sec-websocket-extensions: permessage-deflate; client_max_window_bits=12" in head) is on
            await client.send_all(frame(TEXT, b"x" * 5000) + close_frame(1000))
            assert ((await client.receive_rest())[0] == 0xC1) is on


# -- control frames: §5.5 ----------------------------------------------------------------------------------------------


async def test_a_ping_is_answered() -> None:
    async with serving(echo) as site:
        client = await open_websocket(site)
        for payload in (b"", b"x" * 125):
            await client.send(frame(PING, payload))
            assert await client.receive() == Frame(PONG, payload)
        await client.send(frame(PONG, b"unasked"), frame(TEXT, b"a", fin=False), frame(PING, b"between"))
        assert await client.receive() == Frame(PONG, b"between")
        await client.send(frame(CONTINUATION, b"b"))
        assert await client.receive_text() == "ab"
        await client.say_goodbye()
