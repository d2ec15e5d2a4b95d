"""The life of a WebSocket: handshake, messages, and every way to end it (RFC 6455, ASGI WebSocket 2.5)."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.apps import hello
from tests.helpers.serving import serving
from tests.helpers.transcripts import body_of, get, ok, receive_response, status_of
from tests.helpers.ws_client import (
    ACCEPTED,
    accept,
    echo,
    handshake,
    open_websocket,
    receive_until_disconnect,
)
from tests.helpers.ws_frames import BINARY, CONTINUATION, PING, PONG, TEXT, Frame, close_frame, frame, read_frames
from trioserve import ClientDisconnected
from trioserve._connection import pace
from trioserve._types import App, Message, Receive, Scope, Send
from trioserve.testing import settled

WebSocketApp = Callable[[Receive, Send], Awaitable[None]]


def app_of(function: WebSocketApp) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (function(receive, send) if scope["type"] == "websocket" else hello(scope, receive, send))

    return app


# -- handshake: RFC 6455 §4.2 ------------------------------------------------------------------------------------------


async def test_an_accepted_handshake() -> None:
    async with serving(echo) as site:
        client = site.connect()
        await client.send_all(handshake())
        assert await client.receive_exactly(len(ACCEPTED)) == ACCEPTED
        await client.send_all(close_frame())
        assert await client.receive_rest() == b"\x88\x00"


async def test_the_scope_and_the_first_event() -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend((dict(scope), await receive()))

    async with serving(app) as site:
        await site.everything_after(handshake("sec-websocket-protocol: a, b", target="/chat?room=1"))
    scope, event = seen
    assert event == {"type": "websocket.connect"}
    assert (scope["type"], scope["scheme"], scope["path"], scope["query_string"]) == (
        "websocket", "ws", "/chat", b"room=1")
    assert scope["subprotocols"] == ["a", "b"]
    assert "method" not in scope


async def test_the_first_event_comes_first_to_an_application_that_has_already_accepted() -> None:
    events: list[Message] = []

    async def app(receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        events.extend([await receive(), await receive()])

    async with serving(app_of(app)) as site:
        await site.everything_after(handshake() + frame(TEXT, b"early"))
    assert events == [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "early"}]


async def test_what_a_trusted_proxy_says_about_it() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    async with serving(app, forwarded_allow_ips="*") as site:
        await site.everything_after(handshake("x-forwarded-proto: https", "x-forwarded-for: 203.0.113.7"))
    assert (seen[0]["scheme"], seen[0]["client"][0]) == ("wss", "203.0.113.7")


async def test_what_the_application_accepts_with() -> None:
    async def app(receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept", "subprotocol": "b", "headers": [(b"x-a", b"1"), (b"set-cookie", b"c")]})

    async with serving(app_of(app)) as site:
        received = await site.everything_after(handshake("sec-websocket-protocol: a, b") + close_frame(1000))
    head = received.partition(b"\r\n\r\n")[0]
    assert b"\r\nsec-websocket-protocol: b\r\n" in head
    assert head.endswith(b"\r\nx-a: 1\r\nset-cookie: c")


async def test_frames_that_come_with_the_handshake_are_not_lost() -> None:
    async with serving(echo) as site:
        received = await site.everything_after(handshake() + frame(TEXT, b"early") + close_frame(1000))
    assert received == ACCEPTED + b"\x81\x05early" + b"\x88\x02\x03\xe8"


async def test_a_handshake_on_a_connection_that_has_served_requests() -> None:
    async with serving(app_of(lambda receive, send: echo({}, receive, send))) as site:
        client = site.connect()
        await client.send_all(get("/first"))
        assert await receive_response(client) == ok(b"/first")
        await client.send_all(handshake())
        assert await client.receive_exactly(len(ACCEPTED)) == ACCEPTED
        await client.send_all(close_frame(1000))
        await client.receive_rest()


@pytest.mark.parametrize(("request_bytes", "status"), [
    (handshake(version="12"), 426), (handshake().replace(b"sec-websocket-key", b"x-key"), 400),
    (handshake("content-length: 5") + b"hello", 400)])
async def test_a_bad_handshake_does_not_reach_the_application(request_bytes: bytes, status: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError(scope)

    async with serving(app) as site:
        answer = await site.everything_after(request_bytes)
    assert status_of(answer) == status
    assert (b"\r\nsec-websocket-version: 13\r\n" in answer) is (status == 426)
    assert b"\r\nconnection: close\r\n" in answer


@pytest.mark.parametrize("request_bytes", [
    handshake().replace(b"GET", b"POST"), handshake().replace(b"HTTP/1.1", b"HTTP/1.0"),
    handshake().replace(b"upgrade: websocket", b"upgrade: h2c"), handshake().replace(b"connection: upgrade\r\n", b"")])
async def test_what_is_no_handshake_is_an_ordinary_request(request_bytes: bytes) -> None:  # RFC 9110 §7.8
    async with serving(hello) as site:
        assert status_of(await site.answer_to(request_bytes)) == 200


async def test_websockets_can_be_switched_off() -> None:
    async with serving(hello, ws="none") as site:
        assert await site.answer_to(handshake(target="/chat")) == ok(b"/chat")


async def refuse(receive: Receive, send: Send) -> None:
    assert await receive() == {"type": "websocket.connect"}
    await send({"type": "websocket.close", "code": 4000})
    assert (await receive())["type"] == "websocket.disconnect"
    with pytest.raises(ClientDisconnected):
        await send({"type": "websocket.accept"})


async def return_at_once(receive: Receive, send: Send) -> None:
    """Does not even receive."""


async def fail(receive: Receive, send: Send) -> None:
    raise ValueError("before accept")


@pytest.mark.parametrize(("app", "status", "errors"), [(refuse, 403, 0), (return_at_once, 403, 0), (fail, 500, 1)])
async def test_a_handshake_that_the_application_refuses(
    app: WebSocketApp, status: int, errors: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(app_of(app)) as site:
        answer = await site.everything_after(handshake(target="/a") + frame(TEXT, b"early"))
    assert status_of(answer) == status
    assert b"\r\nconnection: close\r\n" in answer
    assert len(caplog.records) == errors


async def test_a_refusal_is_sent_before_the_application_ends() -> None:
    async def app(receive: Receive, send: Send) -> None:
        await send({"type": "websocket.close"})
        await anyio.sleep(100)

    async with serving(app_of(app)) as site:
        client = site.connect()
        await client.send_all(handshake())
        with anyio.fail_after(1):
            assert status_of(await receive_response(client)) == 403


# -- the denial response (ASGI extension) ------------------------------------------------------------------------------


def denial(body: bytes, *, more: bool = False) -> Message:
    return {"type": "websocket.http.response.body", "body": body, "more_body": more}


async def test_a_response_instead_of_a_websocket() -> None:
    async def app(receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-a", b"1")]})
        await send(denial(b"log in first"))
        assert (await receive())["type"] == "websocket.disconnect"

    async with serving(app_of(app)) as site:
        answer = await site.everything_after(handshake())
    assert answer == (
        b"HTTP/1.1 401 Unauthorized\r\nx-a: 1\r\ncontent-length: 12\r\nconnection: close\r\n\r\nlog in first")


async def test_it_may_be_streamed_to_a_slow_client() -> None:
    sent = 0

    async def app(receive: Receive, send: Send) -> None:
        nonlocal sent
        await send({"type": "websocket.http.response.start", "status": 403})
        for _ in range(100):
            await send(denial(b"x" * 10_000, more=True))
            sent += 1
        await send(denial(b""))

    async with serving(app_of(app)) as site:
        client = site.connect()
        await client.send_all(handshake())
        await settled()
        assert sent < 20
        body = body_of(await client.receive_rest())
    assert body.count(b"x") == 1_000_000
    assert body.endswith(b"\r\n0\r\n\r\n")


async def test_a_denial_that_is_not_complete_does_not_look_so(caplog: pytest.LogCaptureFixture) -> None:
    async def app(receive: Receive, send: Send) -> None:
        await send({"type": "websocket.http.response.start", "status": 403})
        await send(denial(b"part", more=True))

    async with serving(app_of(app)) as site:
        answer = await site.everything_after(handshake())
    assert not answer.endswith(b"0\r\n\r\n")
    assert "before its response was complete" in caplog.text


# -- messages: RFC 6455 §5.6 -------------------------------------------------------------------------------------------


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
