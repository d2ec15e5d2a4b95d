"""Every ASGI message in the log: readable, without secrets, and only when somebody wants to see it."""

import itertools
import logging
import re
from typing import Any

import anyio
import pytest

from tests.helpers.apps import echo, hello, part, read_body, reply, start
from tests.helpers.lifespans import LifespanApp
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, post, receive_response
from tests.helpers.ws_client import handshake
from trioserve import ClientDisconnected, Config
from trioserve._server import TRACE, Server
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> "Lines":
    caplog.set_level(TRACE, "trioserve.asgi")
    return Lines(caplog)


class Lines:
    """What was traced, without what differs from run to run."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    @property
    def records(self) -> list[logging.LogRecord]:
        return [record for record in self._caplog.records if record.name == "trioserve.asgi"]

    @property
    def text(self) -> list[str]:
        return [re.sub(r"after \d+\.\d ms", "after T ms", record.getMessage()) for record in self.records]


async def test_a_request(lines: Lines) -> None:
    async with serving(echo) as site:
        await site.answer_to(post(b"tea", target="/caf%C3%A9?with=milk"))
    [client, *text] = lines.text
    assert re.fullmatch(r"[\d.]+:\d+", client)
    assert text == [
        "  POST /caf%C3%A9?with=milk HTTP/1.1 headers=[host: a, content-length: 3]",
        "    -> http.request body=b'tea' more_body=False",
        "    <- http.response.start status=200 headers=[]",
        "    <- http.response.body body=b'tea' more_body=False",
        "  returned after T ms",
    ]


async def test_each_line_knows_its_request(lines: Lines) -> None:
    async with serving(hello) as site:
        client = site.connect()
        for _ in range(2):
            await client.send_all(get())
            await receive_response(client)
        await client.aclose()
    names = [getattr(record, "request_id", None) for record in lines.records]
    assert names[0] is None  # the client
    assert [len(list(group)) for _, group in itertools.groupby(names[1:])] == [4, 4]


async def test_a_lifespan(lines: Lines) -> None:
    async with serving(LifespanApp(hello), lifespan="on") as site:
        await site.answer_to(get())
    text = lines.text
    assert text[:3] == ["lifespan", "  -> lifespan.startup", "  <- lifespan.startup.complete"]
    assert text[-4:] == [
        "lifespan", "  -> lifespan.shutdown", "  <- lifespan.shutdown.complete", "  returned after T ms"]


async def test_a_websocket(lines: Lines) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "hé" * 100})
        await send({"type": "websocket.close", "code": 3000})

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(handshake(target="/chat"))
        await client.receive_rest()
        await client.aclose()
    assert lines.text[1].startswith("  websocket /chat HTTP/1.1 headers=[host: ")
    assert lines.text[2:] == [
        "    -> websocket.connect",
        "    <- websocket.accept",
        f"    <- websocket.send text='{'hé' * 50}'... (200 characters)",
        "    <- websocket.close code=3000",
        "  returned after T ms",
    ]


async def test_connections_can_be_told_apart(lines: Lines) -> None:
    """What is said on another one comes under a heading of its own."""
    go_on = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/first":
            await go_on.wait()
        await reply(send)

    async with serving(app, request_id_header="off") as site:
        first, second = (site.listener.connect(("2001:db8::1", port)) for port in (1111, 2222))
        await first.send_all(get("/first"))
        await settled()
        await second.send_all(get("/second"))
        await receive_response(second)
        go_on.set()
        await receive_response(first)
        await first.aclose()
        await second.aclose()
    assert lines.text == [
        "[2001:db8::1]:1111",
        "  GET /first HTTP/1.1 headers=[host: a]",
        "[2001:db8::1]:2222",
        "  GET /second HTTP/1.1 headers=[host: a]",
        "    <- http.response.start status=200 headers=[]",
        "    <- http.response.body body=b'' more_body=False",
        "  returned after T ms",
        "[2001:db8::1]:1111",
        "    <- http.response.start status=200 headers=[]",
        "    <- http.response.body body=b'' more_body=False",
        "  returned after T ms",
    ]
    assert not [record for record in lines.records if hasattr(record, "request_id")]


@pytest.mark.parametrize(
    "name",
    ["Authorization", "proxy-authorization", "cookie", "X-API-Key", "x-csrf-token", "X-Amz-Security-Token",
     "mcp-session-id", "x-goog-iap-jwt-assertion-signature"])
async def test_secrets_are_masked(name: str, lines: Lines) -> None:
    async with serving(hello) as site:
        await site.answer_to(get("/", f"{name}: opensesame"))
    assert f"{name.lower()}: ***" in lines.text[1]
    assert "opensesame" not in "".join(lines.text)


async def test_secrets_of_a_response_are_masked(lines: Lines) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"", 401, [(b"Set-Cookie", b"id=opensesame"), (b"WWW-Authenticate", b"Basic")])

    async with serving(app) as site:
        await site.answer_to(get())
    assert "    <- http.response.start status=401 headers=[Set-Cookie: ***, WWW-Authenticate: Basic]" in lines.text


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_a_body_is_cut(kind: Any, lines: Lines) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await send({"type": "http.response.body", "body": kind(b"x" * 70_000)})

    async with serving(app) as site:
        await site.answer_to(get())
    assert f"    <- http.response.body body=b'{'x' * 100}'... (70000 bytes)" in lines.text


async def test_a_line_is_one_line(lines: Lines) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"one\r\ntwo\x1b[31m")]})

    async with serving(app) as site:
        await site.answer_to(get())
    assert "    <- http.response.start status=200 headers=[a: one\\r\\ntwo\\x1b[31m]" in lines.text
    assert all(text.isprintable() for text in lines.text)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (None, "None"),
        ({}, "a message without type"),
        ({"type": "http.response.start", "status": 200, "headers": [(b"a",)]},
         "http.response.start status=200 headers=[(b'a',)]"),
        ({"type": "http.response.start", "status": 200, "headers": 7}, "http.response.start status=200 headers=7"),
    ],
)
async def test_what_is_no_message_is_shown_all_the_same(message: Any, text: str, lines: Lines) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(message)

    async with serving(app) as site:
        assert (await site.answer_to(get())).startswith(b"HTTP/1.1 500 ")
    assert lines.text[2] == f"    <- {text}"
    assert lines.text[3].startswith("       send() raised AppError: ")
    assert lines.text[4].startswith("  raised AppError: ")


async def test_fields_that_can_be_read_once_are_left_to_the_server(lines: Lines) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": iter([(b"a", b"b")])})
        await part(send, b"", more=False)

    async with serving(app) as site:
        assert b"\r\na: b\r\n" in await site.answer_to(get())


async def test_a_client_that_leaves(lines: Lines) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        await receive()
        with pytest.raises(ClientDisconnected):
            await reply(send)

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        client.abort()
    assert lines.text[3:6] == [
        "    -> http.disconnect",
        "    <- http.response.start status=200 headers=[]",
        "       send() raised ClientDisconnected: the client has gone",
    ]


async def test_an_application_that_is_cancelled(lines: Lines) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep_forever()

    async with serving(app, timeout_request=1) as site:
        assert (await site.answer_to(get())).startswith(b"HTTP/1.1 504 ")
    assert lines.text[-1] == "  was cancelled after T ms"


async def test_nothing_is_wrapped_when_nobody_wants_to_see_it() -> None:
    assert not logging.getLogger("trioserve.asgi").isEnabledFor(TRACE)
    assert Server(hello, Config())._app is hello
