"""One accepted stream, from its opening to its end: a nursery, a protocol, and the boundary of our own bugs."""

import logging
from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING

from trioserve._asgi import ScopeFactory, tls_extension
from trioserve._complaints import complain
from trioserve._connection.boundary import report_bug
from trioserve._connection.context import ServerContext
from trioserve._connection.http1 import Http1Connection
from trioserve._connection.look import Look, Phase, awaited
from trioserve._connection.records import InProgress
from trioserve._connection.timeouts import option_of
from trioserve._errors import ClientDisconnected
from trioserve._protocol.http2.frames import PREFACE
from trioserve._streams import CONNECTION, Address, ByteStream, CancellableNursery, Nursery, is_tls, tls_facts

if TYPE_CHECKING:
    from trioserve._connection.http2.connection import Http2Connection
    from trioserve._connection.http2_terms import Http2Terms

__all__ = ["Connection"]

log = logging.getLogger("trioserve")


class Connection:
    """What the server knows of one client. It owns every task of the connection, and the stream."""

    __slots__ = ("__weakref__", "_began", "_ctx", "_nursery", "_protocol", "_stream")

    def __init__(self, stream: ByteStream, ctx: ServerContext) -> None:
        self._stream = stream
        self._ctx = ctx
        self._began = perf_counter()
        self._nursery: CancellableNursery | None = None
        self._protocol: Http1Connection | Http2Connection | None = None  # once it is known which

    def start(self, connections: Nursery) -> None:
        """Begin, in a nursery of its own."""
        self._ctx.lifetime.begin(self)
        self._nursery = connections.start_nursery(
            self._serve, name=CONNECTION, on_end=self._on_end, on_error=self._on_error)

    def _on_error(self, error: Exception) -> None:
        """None of its tasks could catch it. Trio finds so late that an application has not closed a cancel scope."""
        complain(log, "Ended the connection of %s, an application of which may have left a cancel scope open",
                 self._stream.peer, exc_info=error)
        self._stream.abort()

    def _on_end(self) -> None:
        """All tasks have ended."""
        self._ctx.lifetime.end(self)
        if self._protocol is not None:
            self._protocol.forget()
        self._nursery = self._protocol = None  # no cycle for the garbage collector, which costs 5 us

    async def _serve(self, nursery: CancellableNursery) -> None:
        """Let the stream begin, and hand it to its protocol."""
        try:
            if self._stream.needs_opening:
                await self._open()
            early = b""
            if (terms := self._ctx.http2) is not None:
                early = await self._first_bytes(terms)
                if self._speaks_http2(early):
                    self._begin_http2(terms, early, nursery)
                    return
            self._protocol = http1 = Http1Connection(self._stream, self._scopes(), self._ctx, nursery)
            if early:
                http1.codec.receive_data(early)
            elif self._ctx.lifetime.draining and is_tls(self._stream):
                await http1.await_first_request()
            if self._ctx.task_per_request:
                nursery.start_at_once(http1.hold)
            else:
                await http1.hold()
        except ClientDisconnected:
            self._stream.abort()
        except Exception as exc:  # ours, then: one connection's bug must not end the others
            report_bug(self._stream, exc)
            self._stream.abort()
        except BaseException:  # cancelled before anybody else had the stream
            if self._protocol is None:
                self._stream.abort()
            raise

    async def _first_bytes(self, terms: "Http2Terms") -> bytes:
        """As many as tell which version of HTTP a client speaks, where nothing else tells (RFC 9113 §3.3)."""
        if is_tls(self._stream) or not terms.in_cleartext:
            return b""
        header, data = self._ctx.timeouts.header, b""
        header.arm(self)
        try:
            while len(data) < len(PREFACE) and PREFACE.startswith(data):
                more = await self._stream.receive_some()
                if not more:
                    break
                data += more
        finally:
            header.disarm(self)
        return data

    def _speaks_http2(self, early: bytes) -> bool:
        facts = tls_facts(self._stream)
        return early.startswith(PREFACE) if facts is None else facts.protocol == "h2"

    def _begin_http2(self, terms: "Http2Terms", early: bytes, nursery: CancellableNursery) -> None:
        from trioserve._connection.http2.connection import Http2Connection  # not for servers that never speak it

        self._protocol = http2 = Http2Connection(self._stream, self._scopes(), self._ctx, terms, nursery)
        http2.begin(early)

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
        """The client has connected, and does not come to the end of its handshake, or to its first words."""
        complain(log, "%s-timeout: closing the connection of %s", kind, self._stream.peer, level=logging.DEBUG)
        self._ctx.lifetime.strike(option_of(kind))
        self._stream.abort()  # wakes who waits, with ClientDisconnected

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
            sends_files=ctx.sends_files,
            tls=None if tls is None else tls_extension(
                tls.version, tls.cipher_suite, tls.server_certificate, tls.client_chain),
        )

    # What the server asks.

    def announce_end(self) -> None:
        if self._protocol is not None:
            self._protocol.announce_end()

    def drain(self) -> None:
        if self._protocol is not None:
            self._protocol.drain()
        elif self._nursery is not None and not is_tls(self._stream) and not self._stream.has_input():
            self._nursery.cancel()  # a client in its TLS handshake is about to send a request

    def cancel(self, reason: str) -> None:
        if self._protocol is not None:
            self._protocol.cancel_all(reason)
        elif self._nursery is not None:
            self._nursery.cancel()

    def unfinished(self) -> list[tuple[str, float]]:
        requests = self._protocol.unfinished() if self._protocol is not None else []
        return [(request.line, request.age) for request in requests]

    @property
    def phase(self) -> Phase:
        return "OPENING" if self._protocol is None else self._protocol.phase

    def in_progress(self) -> Sequence[InProgress]:
        return () if self._protocol is None else self._protocol.in_progress()

    @property
    def peer(self) -> Address | None:
        return self._stream.peer

    @property
    def began(self) -> float:
        return self._began

    @property
    def nursery(self) -> CancellableNursery | None:
        return self._nursery

    def look(self) -> Look:
        protocol, age = self._protocol, perf_counter() - self._began
        if protocol is None:
            timeouts = self._ctx.timeouts
            limit = awaited(timeouts.tls_handshake, self) or awaited(timeouts.header, self)
            return Look(self.phase, "", (), limit, age, self._stream, self._nursery)
        return Look(
            protocol.phase, protocol.version, protocol.requests(), protocol.awaited, age, self._stream, self._nursery)
