"""Async context managers as applications, and servers that they end."""

import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio

from tests.helpers.apps import hello
from trioserve import Config, TrioserveError
from trioserve._server import Server
from trioserve._streams.memory import MemoryListener
from trioserve._types import AnyApp

__all__ = ["Opened", "failure_of", "start", "user"]

Failure = TypeVar("Failure", bound=TrioserveError)

user = contextvars.ContextVar("user", default="nobody")


class Opened:
    """An opener that notes what happens in ``events``."""

    def __init__(self, app: Any = hello, *, leave_seconds: float = 0) -> None:
        self.app = app
        self.events: list[str] = []
        self.leave_seconds = leave_seconds

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Any]:
        self.events.append("entered")
        try:
            yield self.app
        except BaseException as exc:
            self.events.append(type(exc).__name__)
            raise
        finally:
            await anyio.sleep(self.leave_seconds)
            self.events.append("left")


async def start(app: AnyApp, **options: Any) -> None:
    config = Config.from_options({"access_log": False} | options)
    await Server(app, config, listeners=[MemoryListener()]).serve()


async def failure_of(
    kind: type[Failure], app: AnyApp, use: Callable[[MemoryListener], Awaitable[None]], **options: Any
) -> Failure:
    """The error of this ``kind`` that ``serve`` raises in the end, when the listener was used."""
    listener = MemoryListener()
    server = Server(app, Config.from_options({"access_log": False} | options), listeners=[listener])
    failures: list[Failure] = []

    async def serve() -> None:
        try:
            await server.serve()
        except kind as exc:
            failures.append(exc)

    async with anyio.create_task_group() as nursery:
        nursery.start_soon(serve)
        await use(listener)
    [failure] = failures
    return failure
