"""Streams of FastAPI and Starlette whose client closes its tab: generators and dependencies end, nothing is logged."""

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import anyio
import pytest
from fastapi import Depends, FastAPI
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.helpers.apps import reply
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, ok, receive_response
from tests.helpers.ws_client import WebSocketClient, echo, handshake
from trioserve._streams.memory import MemoryClient
from trioserve._types import App, Message, Receive, Scope, Send
from trioserve.testing import settled

Ends = list[str]


async def wait_for_model(ends: Ends, tokens: int = 1) -> AsyncIterator[str]:
    """Yields some tokens, and then waits for ever."""
    try:
        for _ in range(tokens):
            yield "token"
        await anyio.Event().wait()
    finally:
        ends.append("generator")


def fastapi_stream(ends: Ends) -> App:
    app = FastAPI()

    async def connection() -> AsyncIterator[str]:
        try:
            yield "connection"
        finally:
            ends.append("dependency")

    @app.get("/")
    async def stream(found: Annotated[str, Depends(connection)]) -> StreamingResponse:
        return StreamingResponse(wait_for_model(ends))

    return app


def fastapi_stream_without_a_token(ends: Ends) -> App:
    app = FastAPI()

    @app.get("/")
    async def stream() -> StreamingResponse:
        return StreamingResponse(wait_for_model(ends, tokens=0))

    return app


def fastapi_sse(ends: Ends) -> App:
    app = FastAPI()

    @app.get("/", response_class=EventSourceResponse)
    async def stream() -> AsyncIterator[ServerSentEvent]:
        async for token in wait_for_model(ends):
            yield ServerSentEvent(raw_data=token)

    return app


def starlette_with_middleware(ends: Ends) -> App:
    async def stream(request: Request) -> Response:
        return StreamingResponse(wait_for_model(ends))

    async def pass_on(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        return response

    app = Starlette(routes=[Route("/", stream)])
    app.add_middleware(BaseHTTPMiddleware, dispatch=pass_on)
    return app


def close(client: MemoryClient) -> None:
    while client.receive_nowait():
        pass
    assert client.close_nowait()


def reset(client: MemoryClient) -> None:
    client.abort()


MAKERS = [fastapi_stream, fastapi_stream_without_a_token, fastapi_sse, starlette_with_middleware]


@pytest.mark.filterwarnings("ignore:Async generator")
@pytest.mark.parametrize("leave", [close, reset])
@pytest.mark.parametrize("make_app", MAKERS)
async def test_a_stream_whose_client_leaves_ends(
    make_app: Callable[[Ends], App], leave: Callable[[MemoryClient], None], caplog: pytest.LogCaptureFixture
) -> None:
    ends: Ends = []
    async with serving(make_app(ends)) as site:
        client = site.connect()
        await client.send_all(get())
        await anyio.sleep(3)
        assert site.connections == 1
        leave(client)
        await anyio.sleep(0.6)
        await settled()
        assert site.connections == 0
        assert "generator" in ends
        assert ("dependency" in ends) == (make_app is fastapi_stream)
    assert not [record for record in caplog.records if record.name.startswith("trioserve") and record.levelno > 20]


@pytest.mark.parametrize("make_app", MAKERS)
async def test_a_stream_whose_client_stays_goes_on(make_app: Callable[[Ends], App]) -> None:
    ends: Ends = []
    async with serving(make_app(ends), timeout_graceful_shutdown=1) as site:
        client = site.connect()
        await client.send_all(get())
        await anyio.sleep(100)
        assert site.connections == 1
        assert ends == []


async def test_an_error_behind_middleware_is_logged_when_the_client_has_left(caplog: pytest.LogCaptureFixture) -> None:
    """Each BaseHTTPMiddleware raises it out of a group, which then is behind it, and has it as a member."""

    async def fail(request: Request) -> Response:
        raise ValueError("no such model")

    async def pass_on(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        return response

    failing = Starlette(routes=[Route("/", fail)])
    for _ in range(2):
        failing.add_middleware(BaseHTTPMiddleware, dispatch=pass_on)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_the_last(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.body":
                reset(client)

        await failing(scope, receive, send_the_last)

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        await settled()
    [record] = [record for record in caplog.records if record.name.startswith("trioserve") and record.levelno > 20]
    assert record.getMessage().startswith("Exception in the application, serving GET /")
    assert record.exc_info
    assert isinstance(record.exc_info[1], ValueError)


async def test_a_websocket_on_a_connection_where_work_goes_on() -> None:
    done: Ends = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await echo(scope, receive, send)
            return
        await reply(send, b"ok")
        for _ in range(10):
            await anyio.sleep(1)
        done.append("work")

    async with serving(app) as site:
        stream = site.connect()
        await stream.send_all(get())
        assert await receive_response(stream) == ok(b"ok")
        await stream.send_all(handshake())
        assert (await stream.receive_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        client = WebSocketClient(stream)
        for number in range(20):
            await client.text(f"{number}")
            assert await client.receive_text() == f"{number}"
            await anyio.sleep(1)
        assert done == ["work"]
        await client.say_goodbye()
        await settled()
        assert site.connections == 0
