"""The handshake of a WebSocket (RFC 6455 §4.2), and a response in its place (ASGI's extension)."""

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.apps import hello
from tests.helpers.serving import serving
from tests.helpers.transcripts import body_of, get, ok, receive_response, status_of
from tests.helpers.ws_apps import WebSocketApp, app_of, fail
from tests.helpers.ws_client import ACCEPTED, echo, handshake
from tests.helpers.ws_frames import TEXT, close_frame, frame
from trioserve import ClientDisconnected
from trioserve._types import Message, Receive, Scope, Send
from trioserve.testing import settled

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
