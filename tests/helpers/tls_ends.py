"""Both ends of a TLS connection in memory."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio

from tests.helpers.certificates import client_context, identity
from tests.helpers.stream_pairs import MemoryPeer, TlsPeer
from trioserve._streams import ServerIdentity
from trioserve._streams.memory import memory_stream_pair
from trioserve._streams.tls import TlsStream

__all__ = ["Ends", "ends", "together"]


class Ends:
    """Both ends of a connection in memory, not opened yet; ``below`` is what TLS bytes go through."""

    def __init__(
        self, context: ssl.SSLContext, known: ServerIdentity, capacity: int, piece: int | None
    ) -> None:
        client, self.below = memory_stream_pair(capacity)
        self.stream = TlsStream(self.below, known)
        self.peer = TlsPeer(MemoryPeer(client), context, piece=piece)
        self.client = client

    async def open(self) -> None:
        await together(self.stream.open, self.peer.open)


async def together(*tasks: Callable[[], Awaitable[Any]]) -> None:
    """Run them side by side; what one raises ends the others, and is raised as it is."""
    failures: list[Exception] = []

    async def run(task: Callable[[], Awaitable[Any]]) -> None:
        try:
            await task()
        except Exception as exc:
            failures.append(exc)
            running.cancel_scope.cancel()

    async with anyio.create_task_group() as running:
        for task in tasks:
            running.start_soon(run, task)
    if failures:
        raise failures[0]


@asynccontextmanager
async def ends(
    context: ssl.SSLContext | None = None, known: ServerIdentity | None = None, *, capacity: int = 64 * 1024,
    piece: int | None = None,
) -> AsyncIterator[Ends]:
    pair = Ends(context or client_context(), known or identity(), capacity, piece)
    yield pair
    pair.stream.abort()
    pair.client.abort()
