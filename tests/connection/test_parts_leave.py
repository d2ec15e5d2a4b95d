"""A part of a response leaves when it is sent, although its application goes on computing (ASGI HTTP, "Response Body").

The clients are threads with real sockets. The applications do not time them: after each part they block, with the
whole event loop, until the client says that it has got it.
"""

import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.helpers.apps import part, reply, start
from tests.helpers.certificates import client_context
from tests.helpers.http2_client import Http2Client
from tests.helpers.loopback import SOCKET_KINDS, Loopback, fixtures_over, serving_on_loopback
from tests.helpers.stream_pairs import Kind
from tests.helpers.transcripts import get
from tests.helpers.ws_client import accept, handshake
from trioserve._types import App, Receive, Scope, Send

PATIENCE: Final = 20.0  # seconds, for what takes none
COMPUTE_SECONDS: Final = 0.003  # longer than parts may collect
CLOSE_FRAME: Final = b"\x88\x80\0\0\0\0"  # of a client, without a code (RFC 6455 §5.5.1)
TOKENS: Final = [f"token-{number};" for number in range(5)]


kind, anyio_backend = fixtures_over(SOCKET_KINDS)
clear_only = pytest.mark.parametrize("kind", [kind for kind in SOCKET_KINDS if not kind.tls], ids=str, indirect=True)


class Reader:
    """A client in a thread of its own: sends a request, and reads until the server ends the connection.

    ``farewell`` is what it sends when it has got the last token.
    """

    def __init__(self, request: bytes, farewell: bytes = b"") -> None:
        self._request = request
        self._farewell = farewell
        self._received = b""
        self._changed = threading.Condition()
        self._ended = False

    def start(self, site: Loopback) -> None:
        """Connected, and the request is in the kernel's hands."""
        self._sock = socket.create_connection(site.address, timeout=PATIENCE)
        if not site.kind.tls:
            self._sock.sendall(self._request)
        self._thread = threading.Thread(target=self._read, args=(site.kind,), daemon=True)
        self._thread.start()

    def _read(self, kind: Kind) -> None:
        if kind.tls:
            self._sock = client_context().wrap_socket(self._sock, server_hostname="localhost")
            self._sock.sendall(self._request)
        with self._sock:
            try:
                while data := self._sock.recv(65536):
                    self._note(data)
                    if self._farewell and TOKENS[-1].encode() in self._received:
                        self._sock.sendall(self._farewell)
                        self._farewell = b""
            except ConnectionError:
                pass  # an end, too
            finally:
                self._note(b"", ended=True)

    def _note(self, data: bytes, *, ended: bool = False) -> None:
        with self._changed:
            self._received += data
            self._ended = self._ended or ended
            self._changed.notify_all()

    def has_got(self, token: str) -> bool:
        """Blocks until it has, or will not."""
        with self._changed:
            self._changed.wait_for(lambda: token.encode() in self._received or self._ended, PATIENCE)
            return token.encode() in self._received

    async def all(self) -> bytes:
        await anyio.to_thread.run_sync(self._thread.join, PATIENCE)
        return self._received


class Tokens:
    """Computes, yields a token, and checks that its reader has got it before it computes the next one.

    ``turns`` of the event loop are given before, to frameworks that hand what they get to another task.
    """

    def __init__(self, reader: Reader, turns: int = 0) -> None:
        self._reader = reader
        self._turns = turns
        self.late: list[str] = []

    def check(self, token: str) -> None:
        if not self._reader.has_got(token):
            self.late.append(token)

    async def __call__(self) -> AsyncIterator[str]:
        for token in TOKENS:
            time.sleep(COMPUTE_SECONDS)  # noqa: ASYNC251  # it computes
            yield token
            if self.late:
                return
            for _ in range(self._turns):
                await anyio.lowlevel.checkpoint()
            self.check(token)


def raw_app(tokens: Tokens) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        async for token in tokens():
            await part(send, token.encode())
        await part(send, b"", more=False)

    return app


def fastapi_app(tokens: Tokens) -> App:
    app = FastAPI()

    @app.get("/")
    async def stream() -> StreamingResponse:
        return StreamingResponse(tokens(), media_type="text/plain")

    return app


def fastapi_sse_app(tokens: Tokens) -> App:
    app = FastAPI()

    @app.get("/", response_class=EventSourceResponse)
    async def stream() -> AsyncIterator[ServerSentEvent]:
        async for token in tokens():
            yield ServerSentEvent(raw_data=token)

    return app


def starlette_sse_app(tokens: Tokens) -> App:
    async def stream(request: Request) -> Response:
        events = (f"data: {token}\n\n" async for token in tokens())
        return StreamingResponse(events, media_type="text/event-stream")

    return Starlette(routes=[Route("/", stream)])


def middleware_app(tokens: Tokens) -> App:
    async def stream(request: Request) -> Response:
        return StreamingResponse(tokens())

    async def pass_on(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        return response

    app = Starlette(routes=[Route("/", stream)])
    app.add_middleware(BaseHTTPMiddleware, dispatch=pass_on)
    return app


def pieces_app(tokens: Tokens) -> App:
    """With a content-length, and nothing in the first part."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, headers=[(b"content-length", b"%d" % len("".join(TOKENS)))])
        await part(send, b"")
        async for token in tokens():
            await part(send, token.encode())
        await part(send, b"", more=False)

    return app


APPS = [raw_app, fastapi_app, starlette_sse_app, pieces_app]


@pytest.mark.parametrize("make_app", APPS)
async def test_each_token_leaves_before_the_next_is_computed(kind: Kind, make_app: Callable[[Tokens], App]) -> None:
    reader = Reader(get("/", "connection: close"))
    tokens = Tokens(reader)
    async with serving_on_loopback(kind, make_app(tokens)) as site:
        reader.start(site)
        received = await reader.all()
    assert tokens.late == []
    assert all(token.encode() in received for token in TOKENS)


async def test_each_token_leaves_to_a_client_of_http_1_0(kind: Kind) -> None:
    reader = Reader(get("/", version="1.0"))
    tokens = Tokens(reader)
    async with serving_on_loopback(kind, fastapi_app(tokens)) as site:
        reader.start(site)
        received = await reader.all()
    assert tokens.late == []
    assert received.endswith("".join(TOKENS).encode())


async def test_each_message_of_a_websocket_leaves(kind: Kind) -> None:
    reader = Reader(handshake(), farewell=CLOSE_FRAME)
    tokens = Tokens(reader)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        async for token in tokens():
            await send({"type": "websocket.send", "text": token})

    async with serving_on_loopback(kind, app) as site:
        reader.start(site)
        await anyio.to_thread.run_sync(reader.has_got, TOKENS[-1])
    assert tokens.late == []


async def test_tokens_of_requests_that_are_woken_together(kind: Kind) -> None:
    """The loop is busy while all of them come: they begin in one turn, in which responses are held for each other."""
    all_sent = threading.Event()
    readers = [Reader(get(f"/{number}", "connection: close")) for number in range(6)]
    all_tokens = [Tokens(reader) for reader in readers]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/busy":
            all_sent.wait(PATIENCE)
            time.sleep(0.05)  # noqa: ASYNC251  # for the kernel to have delivered them; nothing depends on it
            await part_of_nothing(send)
            return
        await raw_app(all_tokens[int(scope["path"][1:])])(scope, receive, send)

    async with serving_on_loopback(kind, app) as site:
        busy = Reader(get("/busy", "connection: close"))
        busy.start(site)
        for reader in readers:
            reader.start(site)
        all_sent.set()
        for reader in readers:
            await reader.all()
    assert [tokens.late for tokens in all_tokens] == [[]] * len(readers)


async def test_tokens_of_requests_that_one_event_wakes(kind: Kind) -> None:
    readers = [Reader(get(f"/{number}", "connection: close")) for number in range(6)]
    all_tokens = [Tokens(reader) for reader in readers]
    waiting, gate = 0, anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == len(readers):
            gate.set()
        await gate.wait()
        await raw_app(all_tokens[int(scope["path"][1:])])(scope, receive, send)

    async with serving_on_loopback(kind, app) as site:
        for reader in readers:
            reader.start(site)
        for reader in readers:
            await reader.all()
    assert [tokens.late for tokens in all_tokens] == [[]] * len(readers)


def http2_request(*paths: str) -> bytes:
    """All that a client says."""
    nowhere: Any = None
    client = Http2Client(nowhere)
    for path in paths:
        client.prepare(path)
    return client.h2.data_to_send()


@clear_only
async def test_tokens_beside_an_answer_on_one_connection_of_http2(kind: Kind) -> None:
    """The answer waits for the end of the turn, in which the tokens are computed."""
    reader = Reader(http2_request("/answer", "/tokens"))
    tokens = Tokens(reader)
    sends: list[Send] = []
    tokens_sent = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/answer":
            sends.append(send)
            await tokens_sent.wait()
            return
        for _ in range(10):
            await anyio.lowlevel.checkpoint()  # until the connection waits for its client
        await reply(sends[0], b"answer")
        await raw_app(tokens)(scope, receive, send)
        tokens_sent.set()

    async with serving_on_loopback(kind, app, http2=True) as site:
        reader.start(site)
        await anyio.to_thread.run_sync(reader.has_got, TOKENS[-1])
    assert tokens.late == []


@clear_only
@pytest.mark.parametrize("waits_first", [False, True])
async def test_an_answer_alone_on_a_connection_of_http2(kind: Kind, waits_first: bool) -> None:
    """Its application goes on with something else, without a wait."""
    reader = Reader(http2_request("/"))
    got: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if waits_first:
            await anyio.sleep(0.01)
        await reply(send, b"answer")
        got.append(reader.has_got("answer"))

    async with serving_on_loopback(kind, app, http2=True) as site:
        reader.start(site)
        await anyio.to_thread.run_sync(reader.has_got, "answer")
    assert got == [True]


@clear_only
async def test_messages_of_a_websocket_beside_another_stream_of_http2(kind: Kind) -> None:
    """Each leaves, although the application goes on computing, and another stream is open."""
    nowhere: Any = None
    client = Http2Client(nowhere)
    client.prepare("/other")
    client.prepare(method=b"CONNECT", protocol=b"websocket", fields=[(b"sec-websocket-version", b"13")], ends=False)
    reader = Reader(client.h2.data_to_send())
    tokens = Tokens(reader)
    ended = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await ended.wait()
            return
        await accept(receive, send)
        await anyio.sleep(0.01)
        async for token in tokens():
            await send({"type": "websocket.send", "text": token})
        ended.set()

    async with serving_on_loopback(kind, app, http2=True) as site:
        reader.start(site)
        await anyio.to_thread.run_sync(reader.has_got, TOKENS[-1])
    assert tokens.late == []


async def part_of_nothing(send: Send) -> None:
    await start(send)
    await part(send, b"", more=False)


async def test_frameworks_that_hand_tokens_from_task_to_task(kind: Kind) -> None:
    for make_app in (middleware_app, fastapi_sse_app):
        reader = Reader(get("/", "connection: close"))
        tokens = Tokens(reader, turns=10)
        async with serving_on_loopback(kind, make_app(tokens)) as site:
            reader.start(site)
            received = await reader.all()
        assert tokens.late == []
        assert received.count(b"token-") == len(TOKENS)


async def test_what_is_left_of_the_delay(kind: Kind) -> None:
    """The second of two parts sent back to back may wait for the next one, once in a response."""
    reader = Reader(get("/", "connection: close"))
    got: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"<a>")
        await part(send, b"<b>")
        got.append(reader.has_got("<a>"))
        time.sleep(COMPUTE_SECONDS)  # noqa: ASYNC251  # it computes
        await part(send, b"<c>")
        got.append(reader.has_got("<b>") and reader.has_got("<c>"))
        await part(send, b"<d>")
        await part(send, b"<e>")
        got.append(reader.has_got("<d>") and reader.has_got("<e>"))
        await part(send, b"", more=False)

    async with serving_on_loopback(kind, app) as site:
        reader.start(site)
        await reader.all()
    assert got == [True, True, True]


async def test_what_has_collected_leaves_when_the_application_waits(kind: Kind) -> None:
    reader = Reader(get("/", "connection: close"))
    got: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        for number in range(20):
            await part(send, b"<a%d>" % number)
            await part(send, b"<b%d>" % number)
            await anyio.lowlevel.checkpoint()
            got.append(reader.has_got(f"<b{number}>"))
        await part(send, b"", more=False)

    async with serving_on_loopback(kind, app) as site:
        reader.start(site)
        await reader.all()
    assert got == [True] * 20


async def test_more_than_collects_leaves_without_a_wait(kind: Kind) -> None:
    """128 KiB in all, however fast they come."""
    reader = Reader(get("/", "connection: close"))
    got: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"<first>")
        for number in range(3):
            await part(send, b"x" * 70_000 + b"<%d>" % number)
        got.append(reader.has_got("<0>"))
        await part(send, b"", more=False)

    async with serving_on_loopback(kind, app) as site:
        reader.start(site)
        await reader.all()
    assert got == [True]
