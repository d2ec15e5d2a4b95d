"""Starlette's responses, requests and middleware. It runs on either backend."""

import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.lowlevel
from starlette.applications import Starlette
from starlette.endpoints import WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

FILE = Path(tempfile.mkdtemp(prefix="starlette-app-")) / "file.bin"
FILE_BYTES = bytes(range(256)) * 20_000


def say(text: str) -> None:
    print(f"starlette: {text}", file=sys.stderr, flush=True)


class Lifespan:
    """Makes the file and removes it."""

    def __init__(self, app: Starlette) -> None:
        pass

    async def __aenter__(self) -> None:
        FILE.write_bytes(FILE_BYTES)

    async def __aexit__(self, *exc: object) -> None:
        FILE.unlink()
        FILE.parent.rmdir()


async def file(request: Request) -> Response:
    return FileResponse(FILE)


async def stream(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(50):
            yield b"%d " % number * 1000
            await anyio.lowlevel.checkpoint()

    return StreamingResponse(pieces())


async def fail(request: Request) -> Response:
    raise ValueError("on purpose, in Starlette")


async def fail_midway(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"begun"
        await anyio.lowlevel.checkpoint()
        raise ValueError("on purpose, in a stream")

    return StreamingResponse(pieces())


async def wait_disconnected(request: Request) -> Response:
    """Asks again and again, as an endpoint with much to compute does."""
    say(f"asks, disconnected: {await request.is_disconnected()}")
    while not await request.is_disconnected():  # noqa: ASYNC110  # there is nothing else to wait for
        await anyio.sleep(0.01)
    say("sees the client leave")
    return PlainTextResponse("to nobody")


async def read_stream(request: Request) -> Response:
    count = 0
    try:
        async for piece in request.stream():
            count += len(piece)
            if count == 1:
                say("got the first byte")
    except ClientDisconnect:
        say("the upload was cut short")
        raise
    return JSONResponse({"bytes": count})


async def endless(request: Request) -> Response:
    async def ticks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"tick\n"
                await anyio.sleep(0.01)
        finally:
            say("the stream is closed")

    return StreamingResponse(ticks())


async def text(request: Request) -> Response:
    return PlainTextResponse("a text that repeats itself, " * 1000)


class Shouting(WebSocketEndpoint):
    """Text comes back in capitals; Starlette closes upon anything else, with 1003."""

    encoding = "text"

    async def on_connect(self, websocket: WebSocket) -> None:
        await websocket.accept(subprotocol=next(iter(websocket.scope["subprotocols"]), None))
        say(f"{websocket.query_params['token']} connected")

    async def on_receive(self, websocket: WebSocket, data: str) -> None:
        await websocket.send_text(data.upper())

    async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
        say(f"{websocket.query_params['token']} disconnected {close_code}")


class Summing(WebSocketEndpoint):
    """JSON in, JSON out, the latter in binary messages."""

    encoding = "json"

    async def on_receive(self, websocket: WebSocket, data: list[int]) -> None:
        await websocket.send_json({"sum": sum(data)}, mode="binary")


async def by_invitation(websocket: WebSocket) -> None:
    """An HTTP response instead of a WebSocket."""
    await websocket.send_denial_response(JSONResponse({"detail": "by invitation only"}, 401, {"x-contact": "us"}))


class AddsHeader(BaseHTTPMiddleware):
    """The usual shape: something before, something after."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["x-middleware"] = "was here"
        return response


async def missing(request: Request) -> Response:
    """Gone between Starlette's look at it and ours."""
    return FileResponse(FILE.with_name("missing"), stat_result=FILE.stat())


class WithoutPathsend:
    """Middleware that wants to see each file as body messages, to compress them for example, can be inside this."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.get("extensions", {}).pop("http.response.pathsend", None)
        await self.app(scope, receive, send)


ROUTES = [
    Route("/file", file),
    Route("/missing", missing),
    Mount("/static", StaticFiles(directory=FILE.parent)),
    Route("/stream", stream),
    Route("/fail", fail),
    Route("/fail_midway", fail_midway),
    Route("/wait_disconnected", wait_disconnected),
    Route("/read_stream", read_stream, methods=["POST"]),
    Route("/endless", endless),
    Route("/text", text),
    WebSocketRoute("/shouting", Shouting),
    WebSocketRoute("/summing", Summing),
    WebSocketRoute("/by-invitation", by_invitation),
]

app = Starlette(routes=ROUTES, lifespan=Lifespan)
wrapped = Starlette(
    routes=ROUTES, lifespan=Lifespan, middleware=[Middleware(AddsHeader), Middleware(GZipMiddleware, minimum_size=500)])
compressing = WithoutPathsend(wrapped)
