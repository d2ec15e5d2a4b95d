"""WebSocket over HTTP/2 (RFC 8441), with a client that h2 and wsproto make up."""

from typing import Any

import anyio
import pytest
from h2.settings import SettingCodes

from tests.helpers.apps import reply
from tests.helpers.http2_client import Http2Client, http2_client
from tests.helpers.serving import serving
from tests.helpers.ws_frames import CLOSE, PONG, TEXT, close_frame, frame, read_frames
from trioserve._types import Receive, Scope, Send
from trioserve.extensions import request_of
from trioserve.testing import seconds_passed, settled

VERSION = [(b"sec-websocket-version", b"13")]


@pytest.fixture
def options(options: dict[str, Any]) -> dict[str, Any]:
    return options | {"ws_per_message_deflate": False}


async def shake_hands(client: Http2Client, *more: tuple[bytes, bytes]) -> int:
    stream = await client.ask("/chat", method=b"CONNECT", protocol=b"websocket", fields=[*VERSION, *more], ends=False)
    await client.head(stream)
    return stream


class Echo:
    """Notes with which codes its WebSockets have ended."""

    def __init__(self) -> None:
        self.codes: list[int] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept", "subprotocol": next(iter(scope["subprotocols"]), None)})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
        self.codes.append(message["code"])


async def test_8441_5_an_echo_and_its_end(options: dict[str, Any]) -> None:
    echo = Echo()
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await echo(scope, receive, send)

    async with serving(app, **options) as site, http2_client(site) as client:
        await client.listen()
        assert client.h2.remote_settings.enable_connect_protocol == 1
        stream = await shake_hands(client, (b"sec-websocket-protocol", b"a, b"))
        answer = client.answers[stream]
        assert (answer.status, answer.fields[1:]) == (200, [(b"sec-websocket-protocol", b"a")])
        await client.send(stream, frame(TEXT, b"hello"))
        while len(answer.body) < 7:
            await client.listen()
        await client.send(stream, close_frame(4001))
        await client.answer(stream)
        assert [(each.opcode, each.payload[:5]) for each in read_frames(answer.body)] == [
            (TEXT, b"hello"), (CLOSE, b"\x0f\xa1")]
        assert answer.ended
        assert (await client.get()).status == 500  # the connection goes on, and the application knows no HTTP
    assert echo.codes == [4001]
    assert (scopes[0]["type"], scopes[0]["http_version"], scopes[0]["scheme"], scopes[0]["path"]) == (
        "websocket", "2", "ws", "/chat")


@pytest.mark.parametrize("ping_interval", [20, None])
async def test_a_quiet_websocket_stays_open(options: dict[str, Any], ping_interval: float | None) -> None:
    """Limits of request bodies, in time and in bytes, are not for it."""
    app = Echo()
    options |= {"ws_ping_interval": ping_interval, "limit_request_body": 10}
    async with serving(app, **options) as site, http2_client(site) as client:
        stream = await shake_hands(client)
        answer = client.answers[stream]
        for minute in range(5):
            for _ in range(6):
                await anyio.sleep(10)
                await client.send(stream, frame(PONG, b""))
            await client.send(stream, frame(TEXT, b"%d" % minute))
            await settled()
        await client.send(stream, close_frame(4001))
        await client.answer(stream)
        texts = [each.payload for each in read_frames(answer.body) if each.opcode == TEXT]
        assert texts == [b"0", b"1", b"2", b"3", b"4"]
    assert app.codes == [4001]


async def test_a_client_that_answers_no_ping_is_given_up(options: dict[str, Any]) -> None:
    """Whatever it does on other streams."""
    echo = Echo()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (reply(send) if scope["type"] == "http" else echo(scope, receive, send))

    async with serving(app, **options, ws_ping_interval=20, ws_ping_timeout=10) as site, http2_client(site) as client:
        stream = await shake_hands(client)
        await anyio.sleep(0.5)  # so that nothing comes from the client at the moment when the time is over
        for second in range(30):
            assert echo.codes == [], second
            assert (await client.get()).ended
            await anyio.sleep(1)
        assert (await client.get()).ended
        assert client.answers[stream].reset is not None
    assert echo.codes == [1006]


async def test_8441_5_a_reset_is_1006(options: dict[str, Any]) -> None:
    app = Echo()
    async with serving(app, **options) as site, http2_client(site) as client:
        stream = await shake_hands(client)
        await client.reset(stream)
        await settled()
        assert app.codes == [1006]


async def test_8441_5_the_end_of_the_stream_is_1006_and_is_answered_with_one(options: dict[str, Any]) -> None:
    app = Echo()
    async with serving(app, **options) as site, http2_client(site) as client:
        stream = await shake_hands(client)
        await client.send(stream, frame(TEXT, b"hello"), ends=True)
        answer = await client.answer(stream)
        assert [each.payload for each in read_frames(answer.body)] == [b"hello"]
        assert (answer.ended, answer.reset) == (True, None)
    assert app.codes == [1006]


@pytest.mark.parametrize(("status", "sent"), [(200, 403), (204, 403), (299, 403), (302, 302), (401, 401)])
async def test_8441_5_a_denial_does_not_look_like_an_acceptance(
    status: int, sent: int, options: dict[str, Any]
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.http.response.start", "status": status, "headers": [(b"x-a", b"b")]})
        await send({"type": "websocket.http.response.body", "body": b"no entry"})

    async with serving(app, **options) as site, http2_client(site) as client:
        stream = await shake_hands(client)
        answer = await client.answer(stream)
        assert (answer.status, answer.body) == (sent, b"no entry")
        assert (b"x-a", b"b") in answer.fields


async def test_a_refusal_is_an_answer(options: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.close"})

    async with serving(app, **options) as site, http2_client(site) as client:
        stream = await shake_hands(client)
        answer = await client.answer(stream)
        assert (answer.status, answer.body) == (403, b"Forbidden\n")


async def test_another_version_is_refused(options: dict[str, Any]) -> None:
    async with serving(Echo(), **options) as site, http2_client(site) as client:
        stream = await client.ask(method=b"CONNECT", protocol=b"websocket", ends=False)
        answer = await client.answer(stream)
        assert (answer.status, dict(answer.fields)[b"sec-websocket-version"]) == (426, b"13")


async def test_without_websockets_there_is_no_setting(options: dict[str, Any]) -> None:
    async with serving(Echo(), **options, ws="none") as site, http2_client(site) as client:
        await client.listen()
        assert client.h2.remote_settings.enable_connect_protocol == 0


async def test_a_drain_says_1012(options: dict[str, Any]) -> None:
    async with serving(Echo(), **options) as site, http2_client(site) as client:
        stream = await shake_hands(client)
        site.server.request_shutdown("test")
        while not client.answers[stream].body:
            await client.listen()
        [last] = read_frames(client.answers[stream].body)
        assert (last.opcode, last.payload[:2]) == (CLOSE, (1012).to_bytes(2, "big"))
        await client.send(stream, close_frame(1012), ends=True)
        await client.until_end()


async def test_a_websocket_that_ends_itself_leaves_the_connection_alone(options: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            return await reply(send, b"still here")
        await receive()
        await send({"type": "websocket.accept"})
        request_of(scope).deadline = anyio.current_time() + 5
        await anyio.sleep_forever()

    async with serving(app, **options) as site, http2_client(site) as client:
        await client.listen()
        with seconds_passed() as elapsed:
            stream = await shake_hands(client)
            await client.answer(stream)
        assert elapsed.seconds == 5
        assert [each.close_code for each in read_frames(client.answers[stream].body)] == [1001]
        assert (await client.get()).body == b"still here"


async def test_a_slow_client_gets_what_was_sent_before_the_close_frame(options: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "x" * 10_000})

    window = {int(SettingCodes.INITIAL_WINDOW_SIZE): 4000}
    async with serving(app, **options, ws_ping_interval=None) as site, http2_client(site, window) as client:
        stream = await shake_hands(client)
        answer = client.answers[stream]
        while len(answer.body) < 10_000:
            await anyio.sleep(12)  # longer than the answer to a close frame may take
            await client.listen()
        [message, close] = read_frames(answer.body)
        assert (len(message.payload), close.close_code) == (10_000, 1000)
        assert answer.reset is None
