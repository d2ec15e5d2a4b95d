"""Every way to end a WebSocket, by its client and by the server (RFC 6455 §5.5.1, §7; ASGI WebSocket 2.5)."""

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.serving import serving
from tests.helpers.transcripts import get, ok
from tests.helpers.ws_apps import WebSocketApp, app_of, fail
from tests.helpers.ws_client import accept, handshake, open_websocket, receive_until_disconnect
from tests.helpers.ws_frames import BINARY, CONTINUATION, PING, TEXT, Frame, close_frame, frame
from trioserve import ClientDisconnected
from trioserve._types import Message, Receive, Send
from trioserve.testing import settled

# -- closing by the client: §5.5.1, §7 ---------------------------------------------------------------------------------


async def end_of(*frames: bytes, **options: Any) -> tuple[list[Frame], Message]:
    """What a client gets that sends ``frames``, and what the application is told."""
    events: list[Message] = []

    async def app(receive: Receive, send: Send) -> None:
        await accept(receive, send)
        events.extend(await receive_until_disconnect(receive))
        assert await receive() == events[-1]
        with pytest.raises(ClientDisconnected):
            await send({"type": "websocket.send", "text": "late"})

    async with serving(app_of(app), **options) as site:
        client = await open_websocket(site)
        await client.send(*frames)
        received = await client.receive_rest()
        await client.stream.aclose()
    return received, events[-1]


def disconnect(code: int, reason: str = "") -> Message:
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


async def test_a_close_frame_is_answered_with_its_code() -> None:
    [answer], event = await end_of(close_frame(4001, b"going"))
    assert (answer.close_code, event) == (4001, disconnect(4001, "going"))


async def test_a_close_frame_without_a_code() -> None:
    [answer], event = await end_of(close_frame())
    assert (answer.payload, event) == (b"", disconnect(1005))


@pytest.mark.parametrize(("wire", "code"), [
    (frame(TEXT, b"x", mask=None), 1002), (frame(3, b"x"), 1002), (frame(TEXT, b"\xff"), 1007),
    (frame(BINARY, length=1 << 40), 1009), (frame(BINARY, b"x" * 101), 1009),
    (frame(BINARY, b"x" * 60, fin=False) + frame(CONTINUATION, length=41), 1009)])
async def test_a_client_that_breaks_the_protocol_is_told_so(wire: bytes, code: int) -> None:
    events: list[Message] = []

    async def app(receive: Receive, send: Send) -> None:
        await accept(receive, send)
        events.extend(await receive_until_disconnect(receive))

    async with serving(app_of(app), ws_max_size=100) as site:
        client = await open_websocket(site)
        await client.send(wire)
        await client.send(b"x" * 100_000)  # it does not stop at once
        [answer] = await client.receive_rest()
        await client.stream.aclose()
    assert answer.close_code == code
    assert events == [disconnect(code, answer.close_reason)]


async def test_a_slow_client_that_breaks_the_protocol_need_not_close() -> None:
    """The end of the stream follows the close frame, also when something was unsent."""

    async def app(receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await receive()
        await send({"type": "websocket.send", "bytes": b"x" * 100_000})  # more than is in flight
        assert (await receive())["code"] == 1002

    async with serving(app_of(app)) as site:
        client = await open_websocket(site)
        await client.send(frame(TEXT, b"go"), frame(3))
        await settled()
        [message, end] = await client.receive_rest()
        assert (len(message.payload), end.close_code) == (100_000, 1002)
        assert not client.stream.lost
        await client.stream.aclose()


@pytest.mark.parametrize(("last", "code"), [(close_frame(1000), 1000), (frame(3), 1002)], ids=["closes", "fails"])
async def test_a_slow_client_need_not_wait_for_an_application_that_goes_on(last: bytes, code: int) -> None:
    """The end of the stream follows the close frame, also when something was unsent."""
    finished = anyio.Event()

    async def app(receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await receive()
        await send({"type": "websocket.send", "bytes": b"x" * 100_000})  # more than is in flight
        await finished.wait()

    async with serving(app_of(app)) as site:
        client = await open_websocket(site)
        await client.send(frame(TEXT, b"go"), last)
        await anyio.sleep(1)
        with anyio.fail_after(2):
            [message, end] = await client.receive_rest()
        assert (len(message.payload), end.close_code) == (100_000, code)
        assert not client.stream.lost
        finished.set()
        await client.stream.aclose()


async def test_a_client_that_goes_without_a_word() -> None:
    events: list[Message] = []

    async def app(receive: Receive, send: Send) -> None:
        await accept(receive, send)
        events.extend(await receive_until_disconnect(receive))

    async with serving(app_of(app)) as site:
        client = await open_websocket(site)
        await client.text("a")
        await settled()
        await client.stream.aclose()
        client = await open_websocket(site)
        client.stream.abort()
        await settled()
    assert events[1:] == [disconnect(1006), disconnect(1006)]


async def test_a_client_that_only_stops_sending_gets_what_was_sent_to_it() -> None:
    """It closes its half of the connection without a close frame, and reads slowly."""
    events: list[Message] = []

    async def app(receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await send({"type": "websocket.send", "bytes": b"x" * 40_000})
        events.extend(await receive_until_disconnect(receive))

    async with serving(app_of(app)) as site:
        client = await open_websocket(site)
        client.stream.send_eof()
        await settled()
        [message] = await client.receive_rest()
        assert message.payload == b"x" * 40_000
        assert not client.stream.lost  # a reset would drop, on a socket, what is on its way
        await client.stream.aclose()
    assert events == [disconnect(1006)]


async def test_a_client_that_goes_before_the_handshake_is_answered() -> None:
    events: list[Message] = []

    async def app(receive: Receive, send: Send) -> None:
        await receive()
        events.append(await receive())
        with pytest.raises(ClientDisconnected):
            await send({"type": "websocket.accept"})

    async with serving(app_of(app)) as site:
        client = site.connect()
        await client.send_all(handshake())
        await settled()
        await client.aclose()
        await settled()
    assert events == [disconnect(1006)]


# -- closing by the server: §7.1.1 -------------------------------------------------------------------------------------


async def test_the_application_closes() -> None:
    events: list[Message] = []

    async def app(receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await send({"type": "websocket.close", "code": 4002, "reason": "enough"})
        events.append(await receive())
        with pytest.raises(ClientDisconnected):
            await send({"type": "websocket.send", "text": "late"})

    async with serving(app_of(app)) as site:
        client = await open_websocket(site)
        read = await client.receive()
        assert (read.close_code, read.close_reason) == (4002, "enough")
        await client.close(4002)
        assert await client.receive_rest() == []
        await client.stream.aclose()
    assert events == [disconnect(4002, "enough")]


async def return_after_accept(receive: Receive, send: Send) -> None:
    await accept(receive, send)


async def fail_after_accept(receive: Receive, send: Send) -> None:
    await accept(receive, send)
    raise ValueError("after accept")


async def fail_in_a_child(receive: Receive, send: Send) -> None:
    await accept(receive, send)
    async with anyio.create_task_group() as children:
        children.start_soon(anyio.sleep_forever)
        children.start_soon(fail, receive, send)


async def exit_the_process(receive: Receive, send: Send) -> None:
    await accept(receive, send)
    await anyio.lowlevel.checkpoint()
    raise SystemExit(1)


async def send_nonsense(receive: Receive, send: Send) -> None:
    await accept(receive, send)
    await send({"type": "http.response.start", "status": 200})


@pytest.mark.parametrize(("app", "code"), [
    (return_after_accept, 1000), (fail_after_accept, 1011), (fail_in_a_child, 1011), (exit_the_process, 1011),
    (send_nonsense, 1011)])
async def test_the_application_ends(app: WebSocketApp, code: int, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(app_of(app)) as site:
        client = await open_websocket(site, target="/broken")
        assert await client.receive_close() == code
        await client.close(code)
        assert await client.receive_rest() == []
        await client.stream.aclose()
        assert await site.answer_to(get("/alive")) == ok(b"/alive")
    assert len(caplog.records) == (code == 1011)
    assert ("GET /broken" in caplog.text) is (code == 1011)


async def send_for_ever(receive: Receive, send: Send) -> None:
    await accept(receive, send)
    while True:
        await send({"type": "websocket.send", "text": "on"})
        await anyio.sleep(1)


async def send_for_ever_in_a_child(receive: Receive, send: Send) -> None:
    async with anyio.create_task_group() as children:
        children.start_soon(send_for_ever, receive, send)


async def wrap_the_disconnect(receive: Receive, send: Send) -> None:
    try:
        await send_for_ever(receive, send)
    except OSError as exc:  # as Starlette does
        raise RuntimeError("the framework's own") from exc


@pytest.mark.parametrize("app", [send_for_ever, send_for_ever_in_a_child, wrap_the_disconnect])
@pytest.mark.parametrize("politely", [True, False])
async def test_a_disconnect_that_escapes_is_no_error(
    app: WebSocketApp, politely: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(app_of(app)) as site:
        client = await open_websocket(site)
        assert await client.receive_text() == "on"
        if politely:
            await client.close(1000)
            assert (await client.receive_rest())[-1].close_code == 1000
        await client.stream.aclose()
        await anyio.sleep(5)
        assert site.connections == 0
    assert not caplog.records


async def test_what_arrives_after_our_close_frame_is_dropped() -> None:
    async with serving(app_of(return_after_accept)) as site:
        client = await open_websocket(site)
        assert await client.receive_close() == 1000
        await client.send(frame(TEXT, b"late"), frame(PING, b"late"), close_frame(1000))
        assert await client.receive_rest() == []
        await client.stream.aclose()


async def test_the_connection_ends_with_the_handshake_although_the_application_goes_on() -> None:
    finished = anyio.Event()

    async def app(receive: Receive, send: Send) -> None:
        await accept(receive, send)
        assert (await receive())["type"] == "websocket.disconnect"
        await anyio.sleep(100)
        finished.set()

    async with serving(app_of(app)) as site:
        client = await open_websocket(site)
        await client.close(1000)
        with anyio.fail_after(1):
            assert (await client.receive_rest())[0].close_code == 1000
        await client.stream.aclose()
        await finished.wait()
