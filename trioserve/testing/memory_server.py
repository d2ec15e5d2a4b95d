"""The real server over connections in memory, for the length of a block."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import anyio.abc

from trioserve._config import Config
from trioserve._errors import TrioserveError
from trioserve._server import Server
from trioserve._streams.memory import MemoryListener
from trioserve._types import AnyApp
from trioserve.testing.raw_client import RawClient
from trioserve.testing.server_log import recorded_log

__all__ = ["MemoryServer", "open_test_server"]

CLIENT_ADDRESS: Final = ("192.0.2.1", 50000)  # TEST-NET-1 (RFC 5737): nobody's


class MemoryServer:
    """A running server without a socket. ``open_test_server`` makes it.

    Attributes:
        log: the records of ``trioserve`` and ``trioserve.access`` since the start, of level INFO and above. The loggers
            belong to the process: servers that run at the same time see each other's records.
        server: the server itself.
        listener: where its connections come from.
    """

    def __init__(self, server: Server, listener: MemoryListener, log: list[Any]) -> None:
        self.server = server
        self.listener = listener
        self.log = log
        self._stopped = anyio.Event()
        self._failure: TrioserveError | None = None
        self._clients: list[RawClient] = []

    def connect(self, address: tuple[str, int] = CLIENT_ADDRESS) -> RawClient:
        """A new connection of a client at ``address``. Raises ConnectionRefusedError once the server stops."""
        client = RawClient(self.listener.connect(address))
        self._clients.append(client)
        return client

    async def shutdown(self, *, within: float | None = None) -> None:
        """Stop the server gracefully, and wait for its end.

        ``within`` seconds take the place of ``timeout_graceful_shutdown``, if that is longer.
        """
        self.server.request_shutdown("test", within=within)
        await self._stopped.wait()

    async def run(self, *, task_status: anyio.abc.TaskStatus[Any] = anyio.TASK_STATUS_IGNORED) -> None:
        """The server's task; what stops it is kept for the end of the block."""
        try:
            await self.server.serve(task_status=task_status)
        except TrioserveError as exc:
            self._failure = exc
            if not self.server.addresses:  # nobody has been told of a start
                task_status.started()
        finally:
            self._stopped.set()

    def leave(self) -> None:
        """Reset the connections that the test has left open, as the end of a client's process does."""
        for client in self._clients:
            client.reset()

    def check(self, error: BaseException | None = None) -> None:
        """Raise ``error``, an error of the block, or what has stopped the server before its time, which caused it."""
        if error is not None and self._failure is not None:
            raise error from self._failure
        if (first := error or self._failure) is not None:
            raise first


@asynccontextmanager
async def open_test_server(
    app: AnyApp, *, in_flight_bytes: int = 64 * 1024, ssl_context: ssl.SSLContext | None = None, **options: Any
) -> AsyncIterator[MemoryServer]:
    """Serve ``app`` for the length of a block, with its lifespan: ``async with open_test_server(app) as server: ...``.

    It is the server that runs in production; only its sockets are replaced. It runs in the running event loop, trio's
    or asyncio's. If that has a virtual clock, its timeouts take no time.

    At the end of the block connections that are still open are reset by their clients, and the server stops gracefully.

    Args:
        app: ASGI 3, ASGI 2 or WSGI.
        in_flight_bytes: how much the network holds in each direction of a connection.
        ssl_context: the server speaks TLS with it.
        options: fields of ``trioserve.Config``. Those about addresses have no effect.

    Raises:
        ConfigError: an option is unknown or has a value it cannot have.
        StartupFailed: the application's lifespan failed.
        LifespanDied: at the end of the block, the application's lifespan died in between.
    """
    listener = MemoryListener(capacity=in_flight_bytes)
    server = Server(app, Config.from_options(options), listeners=[listener], ssl_context=ssl_context, announce=False)
    error: BaseException | None = None
    with recorded_log() as log:
        memory_server = MemoryServer(server, listener, log)
        async with anyio.create_task_group() as nursery:
            await nursery.start(memory_server.run)
            try:
                memory_server.check()
                yield memory_server
            except (GeneratorExit, anyio.get_cancelled_exc_class()):
                raise
            except BaseException as exc:  # raised below, where no task group wraps it
                error = exc
            memory_server.leave()
            nursery.cancel_scope.cancel()
    memory_server.check(error)
