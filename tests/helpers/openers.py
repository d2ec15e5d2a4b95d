"""Async context managers as applications, and servers that they end."""

import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio

from tests.helpers.apps import hello
from trioserve import Config, LifespanDied
from trioserve._server import Server
from trioserve._streams.memory import MemoryListener
from trioserve._types import AnyApp

__all__ = ["Opened", "die_of", "start", "user"]

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


async def die_of(app: AnyApp, use: Callable[[MemoryListener], Awaitable[None]]) -> LifespanDied:
    """What ``serve`` raises in the end."""
    listener = MemoryListener()
    failures: list[LifespanDied] = []

    async def serve() -> None:
        try:
            await Server(app, Config(access_log=False), listeners=[listener]).serve()
        except LifespanDied as exc:
            failures.append(exc)

    async with anyio.create_task_group() as nursery:
        nursery.start_soon(serve)
        await use(listener)
    [failure] = failures
    return failure
