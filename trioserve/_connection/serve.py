"""One accepted stream, from its opening to its end: a nursery, a protocol, and the boundary of our own bugs."""

import logging

from trioserve._asgi import ScopeFactory, tls_extension
from trioserve._complaints import complain
from trioserve._connection.context import ServerContext
from trioserve._connection.http1 import Http1Connection
from trioserve._errors import ClientDisconnected
from trioserve._streams import ByteStream, CancellableNursery, Nursery, is_tls, tls_facts

__all__ = ["Connection"]

log = logging.getLogger("trioserve")


class Connection:
    """What the server knows of one client. It owns every task of the connection, and the stream."""

    __slots__ = ("_ctx", "_http1", "_nursery", "_stream")

    def __init__(self, stream: ByteStream, ctx: ServerContext) -> None:
        self._stream = stream
        self._ctx = ctx
        self._nursery: CancellableNursery | None = None
        self._http1: Http1Connection | None = None  # once the stream is open

    def start(self, connections: Nursery) -> None:
        """Begin, in a nursery of its own."""
        self._ctx.lifetime.connections.add(self)
        self._nursery = connections.start_nursery(self._serve, name="trioserve connection", on_end=self._on_end)

    def _on_end(self) -> None:
        """All tasks have ended."""
        self._ctx.lifetime.end(self)
        if self._http1 is not None:
            self._http1.forget()
        self._nursery = self._http1 = None  # no cycle for the garbage collector, which costs 5 us

    async def _serve(self, nursery: CancellableNursery) -> None:
        """Let the stream begin, and hand it to its protocol."""
        try:
            if self._stream.needs_opening:
                await self._open()
            self._http1 = http1 = Http1Connection(self._stream, self._scopes(), self._ctx, nursery)
            if self._ctx.lifetime.draining and is_tls(self._stream):
                await http1.await_first_request()
            if self._ctx.task_per_request:
                nursery.start_inside(http1.hold)
            else:
                await http1.hold()
        except ClientDisconnected:
            self._stream.abort()
        except Exception as exc:  # ours, then: one connection's bug must not end the others
            complain(log, "Internal error on the connection of %s", self._stream.peer, exc_info=exc)
            self._stream.abort()
        except BaseException:  # cancelled before anybody else had the stream
            if self._http1 is None:
                self._stream.abort()
            raise

    async def _open(self) -> None:
        """A TLS handshake has its own time."""
        handshake = self._ctx.timeouts.tls_handshake
        if handshake is None or not is_tls(self._stream):
            await self._stream.open()
            return
        handshake.arm(self)
        try:
            await self._stream.open()
        finally:
            handshake.disarm(self)

    def on_timeout(self, kind: str) -> None:
        """The client has connected, and does not come to the end of its handshake."""
        complain(log, "%s-timeout: closing the connection of %s", kind, self._stream.peer, level=logging.DEBUG)
        self._stream.abort()  # wakes open(), which raises ClientDisconnected

    def _scopes(self) -> ScopeFactory:
        ctx, stream = self._ctx, self._stream
        tls = tls_facts(stream)
        return ScopeFactory(
            scheme="http" if tls is None else "https",
            client=stream.peer,
            server=stream.local,
            root_path=ctx.root_path,
            state=ctx.state,
            proxies=ctx.proxies,
            tls=None if tls is None else tls_extension(
                tls.version, tls.cipher_suite, tls.server_certificate, tls.client_chain),
        )

    # What the server asks.

    def announce_end(self) -> None:
        if self._http1 is not None:
            self._http1.announce_end()

    def drain(self) -> None:
        if self._http1 is not None:
            self._http1.drain()
        elif self._nursery is not None and not is_tls(self._stream):
            self._nursery.cancel()  # a client in its TLS handshake is about to send a request

    def cancel(self, reason: str) -> None:
        if self._http1 is not None:
            self._http1.cancel_all(reason)
        elif self._nursery is not None:
            self._nursery.cancel()

    def unfinished(self) -> list[tuple[str, float]]:
        requests = self._http1.unfinished() if self._http1 is not None else []
        return [(request.line, request.age) for request in requests]
