"""A server in memory whose end is the subject of a test, and two ways to stop it gracefully."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import anyio.abc
import pytest

from tests.helpers.lifespans import LifespanApp
from trioserve import Config
from trioserve._server import Server
from trioserve._streams.memory import MemoryClient, MemoryListener
from trioserve.testing import settled

__all__ = ["CLOSE", "GRACEFULLY", "Running", "Stop", "by_request", "running"]

CLOSE: Final = "connection: close"


class Running:
    """A server whose end the test waits for itself."""

    def __init__(self, app: LifespanApp, **options: Any) -> None:
        self.app = app
        self.listener = MemoryListener()
        quiet = {"date_header": False, "server_header": False, "access_log": False, "lifespan": "on"}
        self.server = Server(app, Config.from_options(quiet | options), listeners=[self.listener])
        self.ended = anyio.Event()
        self.scope = anyio.CancelScope()

    async def ask(self, request: bytes) -> MemoryClient:
        """A new client, whose ``request``, or a part of one, has reached the server."""
        client = self.listener.connect()
        await client.send_all(request)
        await settled()
        return client


@asynccontextmanager
async def running(app: LifespanApp, **options: Any) -> AsyncIterator[Running]:
    """A server in a nursery; the block's end waits until it has ended."""
    this = Running(app, **options)
    async with anyio.create_task_group() as nursery:

        async def serve(*, task_status: anyio.abc.TaskStatus[Any]) -> None:
            with this.scope:
                await this.server.serve(task_status=task_status)
            this.ended.set()

        await nursery.start(serve)
        yield this


def by_cancellation(site: Running) -> None:
    site.scope.cancel()


def by_request(site: Running) -> None:
    site.server.request_shutdown("test")


GRACEFULLY: Final = pytest.mark.parametrize("stop", [by_cancellation, by_request])
Stop = Callable[[Running], None]
