"""The real server over connections in memory, for the length of a block."""

import importlib.util
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
from trioserve.testing.tls_client import begin_tls, trusting_context
from trioserve.testing.virtual_time import clock_is_virtual, real_waits_bounded
from trioserve.testing.websocket_client import WebSocketClient, open_websocket

if TYPE_CHECKING:
    import logging

    import httpx
    from anyio.streams.tls import TLSStream

    from trioserve.testing.http import MemoryTransport

__all__ = ["MemoryServer", "open_test_server"]

LAST_REAL_SECONDS: Final = 1.0  # for requests that the test has abandoned
PHASES: Final = ("READY", "DELAY", "DRAINING", "STOPPING", "STOPPED")
HOST: Final = "test"
CLIENT_ADDRESS: Final = ("192.0.2.1", 50000)  # TEST-NET-1 (RFC 5737): nobody's


class MemoryServer:
    """A running server without a socket. ``open_test_server`` makes it.

    Attributes:
        url: what URLs begin with, ``http://test`` or, with certificates, ``https://test``. Where they lead is always
            this server.
        log: the records of ``trioserve`` and ``trioserve.access`` since the start, of level INFO and above. The loggers
            belong to the process: servers that run at the same time see each other's records.
        phases: those that have begun, in their order: ``READY``, then those of a :doc:`shutdown </concepts/shutdown>`,
            ``DELAY`` if there is one, ``DRAINING`` while connections finish and ``STOPPING`` while the lifespan does,
            then ``STOPPED``.
    """

    def __init__(self, app: AnyApp, config: Config, capacity: int, ssl_context: ssl.SSLContext | None) -> None:
        self.log: list[logging.LogRecord] = []
        self.phases: list[str] = ["READY"]
        self._has_tls = ssl_context is not None or config.ssl_certfile is not None
        self.url = f"{'https' if self._has_tls else 'http'}://{HOST}"
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
        """A new connection of a client at ``address``. Raises ConnectionRefusedError once the server stops.

        Its bytes are those of the wire: where the server has TLS, those of TLS.
        """
        client = RawClient(self._listener.connect(address))
        self._clients.append(client)
        return client

    async def connect_tls(
        self, address: tuple[str, int] = CLIENT_ADDRESS, *, hostname: str = HOST, alpn: Iterable[str] = ("http/1.1",),
        ssl_context: ssl.SSLContext | None = None,
    ) -> "TLSStream":  # fmt: skip
        """A new connection with TLS, once its handshake is done: a ``TLSStream`` of anyio's over a ``RawClient``.

        The latter is its ``transport_stream``, for a client that misbehaves.

        Args:
            hostname: the server that the client asks for (RFC 6066 §3).
            alpn: protocols that the client speaks, the best first (RFC 7301).
            ssl_context: the client's settings and its certificate, if it has one. It gets ``alpn``. By default the
                client has no certificate, and takes any from the server.

        Raises:
            ConfigError: the server has no TLS.
            ConnectionRefusedError: the server stops.
            ssl.SSLError: the handshake has failed. With TLS 1.3 a refused client certificate is seen when the client
                receives.
        """
        return await self._begin_tls(self.connect(address), ssl_context, hostname, alpn)

    @cached_property
    def http(self) -> "MemoryTransport":
        """A transport for httpx, with a pool of connections, which are kept alive. Needs ``trioserve[testing]``.

        Without TLS it speaks HTTP/1.1. With TLS it speaks HTTP/2, too, if h2 is installed: the server chooses.
        """
        return self._transport()

    @cached_property
    def http2(self) -> "MemoryTransport":
        """The same with HTTP/2 alone. Needs ``trioserve[http2]``, too, and without TLS the option ``http2=True``."""
        return self._transport(http2=True)

    def client(
        self, *, http2: bool | None = None, ssl_context: ssl.SSLContext | None = None, **options: Any
    ) -> "httpx.AsyncClient":
        """An ``httpx.AsyncClient`` with connections of its own, and with ``url`` as its base URL.

        Args:
            http2: true for HTTP/2, false for HTTP/1.1, ``None`` for what ``http`` speaks.
            ssl_context: the client's settings for TLS and its certificate, if it has one. By default the client has no
                certificate, and takes any from the server.
            options: those of ``httpx.AsyncClient``.
        """
        transport = self._transport(http2, ssl_context)
        import httpx  # an extra

        return httpx.AsyncClient(transport=transport, base_url=self.url, **options)

    @asynccontextmanager
    async def websocket(
        self, target: str = "/", *, headers: Mapping[str, str] | None = None, subprotocols: Iterable[str] = (),
        deflate: bool = False, ssl_context: ssl.SSLContext | None = None,
    ) -> AsyncIterator[WebSocketClient]:  # fmt: skip
        """A WebSocket, closed at the end of its block: ``async with server.websocket("/chat") as websocket: ...``.

        Args:
            headers: further fields of the handshake.
            subprotocols: those that the client speaks, the best first (RFC 6455 §1.9).
            deflate: offer compression (RFC 7692).
            ssl_context: see ``connect_tls``.

        Raises:
            WebSocketRefused: the answer to the handshake was not 101.
            WebSocketClosed: the connection ended instead of an answer.
        """
        connection = self.connect()
        has_tls = self._has_tls or ssl_context is not None
        stream = await self._begin_tls(connection, ssl_context) if has_tls else connection
        async with open_websocket(connection, stream, target, headers or {}, subprotocols, deflate) as websocket:
            yield websocket

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

    async def _begin_tls(
        self, connection: RawClient, context: ssl.SSLContext | None, hostname: str = HOST,
        alpn: Iterable[str] = ("http/1.1",),
    ) -> "TLSStream":  # fmt: skip
        self._check_tls()
        context = context or trusting_context()
        context.set_alpn_protocols(list(alpn))
        return await begin_tls(connection, context, hostname)

    def _check_tls(self) -> None:
        if not self._has_tls:
            raise ConfigError("ssl_certfile", "the server has no TLS: give it ssl_certfile and ssl_keyfile")

    def _transport(self, http2: bool | None = None, ssl_context: ssl.SSLContext | None = None) -> "MemoryTransport":
        server_has_http2 = self._has_tls if self._config.http2 is None else self._config.http2
        if http2 and not server_has_http2:
            raise ConfigError("http2", "the server speaks HTTP/2 only with http2=True, and over TLS by default")
        if ssl_context is not None:
            self._check_tls()
        try:
            from trioserve.testing.http import MemoryTransport
        except ModuleNotFoundError as exc:
            raise RuntimeError(f"{exc.name} is not installed: install trioserve[testing]") from exc
        if not self._has_tls:
            return MemoryTransport(self.connect, http1=not http2, http2=bool(http2))
        has_h2 = importlib.util.find_spec("h2") is not None
        return MemoryTransport(
            self.connect, http1=not http2, http2=has_h2 if http2 is None else http2,
            ssl_context=ssl_context or trusting_context())

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
        ssl_context: the server speaks TLS with it. So it does with the option ``ssl_certfile``.
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
