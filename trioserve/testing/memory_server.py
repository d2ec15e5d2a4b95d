"""The real server over connections in memory, for the length of a block."""

import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

import anyio

from trioserve._admin.view import EVERYTHING
from trioserve._config import Config
from trioserve._errors import ConfigError
from trioserve._server import Phase, Server
from trioserve._streams.memory import MemoryListener
from trioserve._types import AnyApp
from trioserve.testing.raw_client import RawClient
from trioserve.testing.running import running
from trioserve.testing.server_log import recorded_log
from trioserve.testing.virtual_time import clock_is_virtual, real_waits_bounded
from trioserve.testing.websocket_client import WebSocketClient, open_websocket

if TYPE_CHECKING:
    import logging

    import httpx

    from trioserve.testing.http import MemoryTransport

__all__ = ["MemoryServer", "open_test_server"]

LAST_REAL_SECONDS: Final = 1.0  # for requests that the test has abandoned
PHASES: Final = ("READY", "DELAY", "DRAINING", "STOPPING", "STOPPED")
CLIENT_ADDRESS: Final = ("192.0.2.1", 50000)  # TEST-NET-1 (RFC 5737): nobody's


class MemoryServer:
    """A running server without a socket. ``open_test_server`` makes it.

    Attributes:
        url: what URLs begin with; where they lead is always this server.
        log: the records of ``trioserve`` and ``trioserve.access`` since the start, of level INFO and above. The loggers
            belong to the process: servers that run at the same time see each other's records.
        phases: those that have begun, in their order: ``READY``, then those of a :doc:`shutdown </concepts/shutdown>`,
            ``DELAY`` if there is one, ``DRAINING`` while connections finish and ``STOPPING`` while the lifespan does,
            then ``STOPPED``.
    """

    url: Final = "http://test"

    def __init__(self, app: AnyApp, config: Config, capacity: int, ssl_context: ssl.SSLContext | None) -> None:
        self.log: list[logging.LogRecord] = []
        self.phases: list[str] = ["READY"]
        self._config = config
        self._listener = MemoryListener(capacity=capacity)
        self._server = Server(
            app, config, listeners=[self._listener], ssl_context=ssl_context, announce=False, on_phase=self._begin)
        self._phase_begun = anyio.Event()
        self._clients: list[RawClient] = []

    # What can be seen of it.

    @property
    def connections(self) -> int:
        """How many connections the server has."""
        return self._server.open_connections

    def tree(self, *, stack: str = "") -> dict[str, Any]:
        """The :doc:`task tree </reference/tree>` of the server at this moment, as its JSON has it.

        ``stack`` is the id of a node that gets its await stack.
        """
        return self._server.look().snapshot(replace(EVERYTHING, stack=stack))

    # Its clients.

    def connect(self, address: tuple[str, int] = CLIENT_ADDRESS) -> RawClient:
        """A new connection of a client at ``address``. Raises ConnectionRefusedError once the server stops."""
        client = RawClient(self._listener.connect(address))
        self._clients.append(client)
        return client

    @cached_property
    def http(self) -> "MemoryTransport":
        """A transport for httpx, with a pool of connections, which are kept alive. Needs ``trioserve[testing]``."""
        return self._transport(http2=False)

    @cached_property
    def http2(self) -> "MemoryTransport":
        """The same with HTTP/2, with prior knowledge. Needs the option ``http2=True`` and ``trioserve[http2]``, too."""
        if not self._config.http2:
            raise ConfigError("http2", "the server speaks HTTP/2 without TLS only with http2=True")
        return self._transport(http2=True)

    def client(self, *, http2: bool = False, **options: Any) -> "httpx.AsyncClient":
        """An ``httpx.AsyncClient`` on ``http``, or on ``http2``, with ``url`` as its base URL.

        ``options`` are those of ``httpx.AsyncClient``.
        """
        transport = self.http2 if http2 else self.http
        import httpx  # an extra

        return httpx.AsyncClient(transport=transport, base_url=self.url, **options)

    def websocket(
        self, target: str = "/", *, headers: Mapping[str, str] | None = None, subprotocols: Iterable[str] = (),
        deflate: bool = False,
    ) -> AbstractAsyncContextManager[WebSocketClient]:  # fmt: skip
        """A WebSocket, closed at the end of its block: ``async with server.websocket("/chat") as websocket: ...``.

        Args:
            headers: further fields of the handshake.
            subprotocols: those that the client speaks, the best first (RFC 6455 §1.9).
            deflate: offer compression (RFC 7692).

        Raises:
            WebSocketRefused: the answer to the handshake was not 101.
            WebSocketClosed: the connection ended instead of an answer.
        """
        return open_websocket(self.connect(), target, headers or {}, subprotocols, deflate)

    # Its end.

    def request_shutdown(self, *, settle: float = 0.0, within: float | None = None) -> None:
        """Begin to stop gracefully, and do not wait for the end.

        Args:
            settle: seconds for which idle connections stay open for one more request, as after a SIGTERM.
            within: seconds that take the place of ``timeout_graceful_shutdown``, if that is longer.
        """
        self._server.request_shutdown("test", settle=settle, within=within)

    def force_shutdown(self) -> None:
        """Do not wait for requests any longer, as after a second signal."""
        self._server.force_shutdown()

    async def shutdown(self, *, settle: float = 0.0, within: float | None = None) -> None:
        """Stop gracefully, and wait for the end."""
        self.request_shutdown(settle=settle, within=within)
        await self.reached("STOPPED")

    async def reached(self, phase: Phase | Literal["STOPPED"]) -> None:
        """Wait until ``phase`` has begun, or one that comes after it: see ``phases``."""
        later = PHASES[PHASES.index(phase) :]
        while self.phases[-1] not in later:
            await self._phase_begun.wait()

    def _begin(self, phase: str) -> None:
        self.phases.append(phase)
        self._phase_begun.set()
        self._phase_begun = anyio.Event()

    def _transport(self, *, http2: bool) -> "MemoryTransport":
        try:
            from trioserve.testing.http import MemoryTransport
        except ModuleNotFoundError as exc:
            raise RuntimeError(f"{exc.name} is not installed: install trioserve[testing]") from exc
        return MemoryTransport(self.connect, http2=http2)

    # For ``open_test_server``.

    def running(self) -> AbstractAsyncContextManager[None]:
        """It serves for the length of a block."""
        return running(self._server, lambda: self._begin("STOPPED"))

    def leave(self) -> None:
        """Reset the connections that the test has left open, as the end of a client's process may do."""
        for client in self._clients:
            client.reset()


@asynccontextmanager
async def open_test_server(
    app: AnyApp, *, in_flight_bytes: int = 64 * 1024, ssl_context: ssl.SSLContext | None = None, **options: Any
) -> AsyncIterator[MemoryServer]:
    """Serve ``app`` for the length of a block, with its lifespan: ``async with open_test_server(app) as server: ...``.

    It is the server that runs in production; only its sockets are replaced. It runs in the running event loop, trio's
    or asyncio's. If that has a virtual clock, its timeouts take no time.

    At the end of the block connections that are still open are reset by their clients, and the server stops gracefully;
    on a real clock within a second.

    Args:
        app: ASGI 3, ASGI 2 or WSGI.
        in_flight_bytes: how much the network holds in each direction of a connection.
        ssl_context: the server speaks TLS with it.
        options: fields of ``trioserve.Config``. Those about addresses have no effect.

    Raises:
        ConfigError: an option is unknown or has a value it cannot have.
        StartupFailed: the application's lifespan failed.
        LifespanDied, TaskCrashed: at the end of the block, the lifespan or a background task died in between.
    """
    server = MemoryServer(app, Config.from_options(options), in_flight_bytes, ssl_context)
    with real_waits_bounded(), recorded_log(server.log):
        async with server.running():
            try:
                yield server
            finally:
                server.leave()
                server.request_shutdown(within=None if clock_is_virtual() else LAST_REAL_SECONDS)
