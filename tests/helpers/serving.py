"""A real server over memory streams, for the length of a block."""

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import anyio

from tests.helpers.transcripts import receive_response
from trioserve import Config
from trioserve._connection import Connection, Lifetime, Recorder
from trioserve._server import Server
from trioserve._streams import Address
from trioserve._streams.memory import CLIENT_ADDRESS, MemoryClient, MemoryListener
from trioserve._types import AnyApp
from trioserve.testing.running import running
from trioserve.testing.virtual_time import real_waits_bounded

__all__ = ["TRANSCRIPT", "Site", "serving"]

TRANSCRIPT: Final = {"date_header": False, "server_header": False, "access_log": False, "lifespan": "off"}


@dataclass
class Site:
    """A server in memory, seen from inside."""

    server: Server
    listener: MemoryListener
    stopped: anyio.Event = field(default_factory=anyio.Event)

    def connect(self, client: Address | None = CLIENT_ADDRESS) -> MemoryClient:
        return self.listener.connect(client)

    async def answer_to(self, request: bytes) -> bytes:
        """The one response to ``request`` on a connection of its own."""
        client = self.connect()
        await client.send_all(request)
        response = await receive_response(client)
        await client.aclose()
        return response

    async def everything_after(self, request: bytes) -> bytes:
        """All that the server sends on a connection of its own, until it ends it."""
        client = self.connect()
        await client.send_all(request)
        received = await client.receive_rest()
        await client.aclose()
        return received

    async def stop(self) -> None:
        """Request a shutdown, and wait until the server has stopped."""
        self.server.request_shutdown("test")
        await self.stopped.wait()

    @property
    def connections(self) -> int:
        return self.server.open_connections

    @property
    def only_connection(self) -> Connection:
        """The server's side of the only one there is."""
        [connection] = self.lifetime.connections
        assert isinstance(connection, Connection)
        return connection

    @property
    def lifetime(self) -> Lifetime:
        """What all connections share."""
        return self.server._lifetime


@asynccontextmanager
async def serving(
    app: AnyApp, *, capacity: int = 64 * 1024, listeners: Sequence[MemoryListener] = (),
    ssl_context: ssl.SSLContext | None = None, recorders: Sequence[Recorder] = (), **options: Any,
) -> AsyncIterator[Site]:
    """Serve ``app`` in memory; afterwards nothing is left of the server, neither a connection nor a task.

    ``listeners`` take the place of a new one with ``capacity``; the site connects to the first.
    """
    listeners = listeners or [MemoryListener(capacity=capacity)]
    config = Config.from_options(TRANSCRIPT | options)
    server = Server(app, config, listeners=listeners, ssl_context=ssl_context, recorders=recorders)
    site = Site(server, listeners[0])
    tasks_before = len(anyio.get_running_tasks())
    with real_waits_bounded():
        async with running(server, site.stopped.set):
            yield site
    assert site.connections == 0
    assert len(anyio.get_running_tasks()) == tasks_before
