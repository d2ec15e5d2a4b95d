"""An application in an async context manager, which says on stderr that it is open, and fails when it is told to."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import anyio

failing: ContextVar[anyio.Event] = ContextVar("failing")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    if scope["path"] == "/fail":
        failing.get().set()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"open"})


async def fail_when_told(told: anyio.Event) -> None:
    await told.wait()
    raise LookupError("Deliberate: the connection is lost")


@asynccontextmanager
async def open_app() -> AsyncIterator[Any]:
    async with anyio.create_task_group() as nursery:
        failing.set(anyio.Event())
        nursery.start_soon(fail_when_told, failing.get())
        say("opened")
        try:
            yield app
        finally:
            say("closed")
        nursery.cancel_scope.cancel()


async def open_nothing() -> AsyncIterator[Any]:
    yield None
