"""The same event stream, a tick and then nothing more, by each library that people use for it."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from fastapi import FastAPI
from fastapi.responses import EventSourceResponse as FastAPIEventSourceResponse
from litestar import Litestar
from litestar import get as litestar_get
from litestar.response import ServerSentEvent
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Mount, Route


async def ticks(end: str) -> AsyncIterator[str]:
    try:
        yield f"tick{end}"
        await anyio.sleep_forever()
    finally:
        print("events: closed", file=sys.stderr, flush=True)


async def sse_starlette(request: Request) -> EventSourceResponse:
    return EventSourceResponse(ticks(""))


async def starlette(request: Request) -> StreamingResponse:
    return StreamingResponse((f"data: {text}" async for text in ticks("\n\n")), media_type="text/event-stream")


fastapi = FastAPI()


@fastapi.get("/", response_class=FastAPIEventSourceResponse)
async def fastapi_events() -> AsyncIterator[str]:
    async for text in ticks(""):
        yield text


@litestar_get("/")
async def litestar_events() -> ServerSentEvent:
    return ServerSentEvent(ticks(""))


litestar: Any = Litestar([litestar_events])  # its types say less than it takes


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:
    yield
    print("events: lifespan ended", file=sys.stderr, flush=True)


app = Starlette(
    routes=[
        Route("/sse-starlette", sse_starlette), Route("/starlette", starlette), Mount("/fastapi", fastapi),
        Mount("/litestar", litestar),
    ],
    lifespan=lifespan,
)
