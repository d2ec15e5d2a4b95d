"""The life of an HTTP/1.1 connection: requests one after the other, then a farewell (RFC 9112 §9)."""

import logging
from typing import Final

import anyio
import anyio.lowlevel

from trioserve._asgi import ScopeFactory, error_response, tls_extension
from trioserve._connection.context import ServerContext
from trioserve._connection.exchange import Exchange
from trioserve._connection.refused import Refused
from trioserve._connection.timeouts import Timeout
from trioserve._connection.turnstile import RETRY_AFTER_SECONDS, Turnstile
from trioserve._errors import ClientDisconnected, PeerError
from trioserve._protocol import RequestHead
from trioserve._streams import ByteStream, Cancellable, is_tls, tls_facts

__all__ = ["Http1Connection"]

log = logging.getLogger("trioserve")

FAREWELL_SECONDS: Final = 2.0  # to hand the last answer over and let the client read it (nginx lingers 5 to 30)


class Http1Connection:
    """One task; the stream, the codec and the application meet in it.

    Attributes:
        exchange: the request in progress.
        refusal: why the connection is about to end with an error answer.
        scopes: makes the scopes of its requests, once it is open.
    """

    __slots__ = (
        "_cancelled", "_draining_scope", "_forced", "_is_open", "_task", "codec", "ctx", "exchange", "refusal",
        "scopes", "stream",
    )  # fmt: skip

    scopes: ScopeFactory

    def __init__(self, stream: ByteStream, ctx: ServerContext) -> None:
        self.stream = stream
        self.ctx = ctx
        self.codec = ctx.new_codec()
        self._is_open = False
        self.exchange: Exchange | None = None
        self.refusal: PeerError | None = None
        self._task: Cancellable | None = None
        self._draining_scope: anyio.CancelScope | None = None
        self._cancelled = False
        self._forced = False  # cancelled by somebody who does not wait for the client

    def start(self) -> None:
        """Begin the connection's task, whose cancel scope is the connection's."""
        self.ctx.lifetime.connections.add(self)
        self._task = self.ctx.start_soon(self.serve)

    async def serve(self) -> None:
        """Answer requests until either side is finished; the stream is closed afterwards, also when cancelled."""
        try:
            try:
                await self._open()
                await self._serve_requests()
                await self._finish_sending()
            finally:
                await self._end()
        except ClientDisconnected:
            self.stream.abort()
        except Exception:  # ours, then: one connection's bug must not end the others
            log.exception("Internal error on the connection of %s", self.stream.peer)
            self.stream.abort()
        finally:
            self.ctx.lifetime.end(self)
            self.exchange = self.refusal = self._task = None  # no cycle for the garbage collector, which costs 5 us

    async def _open(self) -> None:
        """Let the stream begin, in its own time, and learn whom it connects and how."""
        ctx, stream, handshake = self.ctx, self.stream, self._handshake_timeout
        if handshake is None:
            await stream.open()
        else:
            handshake.arm(self)
            try:
                await stream.open()
            finally:
                handshake.disarm(self)
        tls = tls_facts(stream)
        self.scopes = ScopeFactory(
            scheme="http" if tls is None else "https",
            client=stream.peer,
            server=stream.local,
            root_path=ctx.root_path,
            state=ctx.state,
            proxies=ctx.proxies,
            tls=None if tls is None else tls_extension(
                tls.version, tls.cipher_suite, tls.server_certificate, tls.client_chain),
        )
        self._is_open = True
        if ctx.lifetime.draining and tls is not None:
            await self._await_first_request()

    @property
    def _handshake_timeout(self) -> Timeout["Http1Connection"] | None:
        """That of the TLS handshake with which the connection begins, if it does."""
        timeout = self.ctx.timeouts.tls_handshake
        return timeout if timeout is not None and is_tls(self.stream) else None

    async def _await_first_request(self) -> None:
        """The drain began during the handshake, which is no time to hang up on a client: its request is on the way."""
        self.ctx.timeouts.header.arm(self)
        try:
            self.codec.receive_data(await self.stream.receive_some())
        finally:
            self.ctx.timeouts.header.disarm(self)

    async def _serve_requests(self) -> None:
        """The hot path: wait, parse, run the application in this very task, and again."""
        ctx, codec, stream, lifetime = self.ctx, self.codec, self.stream, self.ctx.lifetime
        timeout = ctx.timeouts.header
        try:
            while True:
                head = None
                if codec.trailing_data or lifetime.draining:
                    head = await self._head_at_hand()
                    if codec.trailing_data:
                        timeout = ctx.timeouts.header
                    elif head is None and lifetime.draining:
                        break
                if head is None:
                    timeout.arm(self)
                    try:
                        codec.receive_data(await stream.receive_some())
                        if (head := codec.next_head() or await self._rest_of_head(armed=timeout)) is None:
                            break
                    finally:
                        timeout.disarm(self)
                if head.meaning.offers_websocket and ctx.websockets is not None and head.method == "GET":
                    self.exchange = ctx.websockets(self, head)
                else:
                    self.exchange = Exchange(self, head)
                del head  # an idle connection keeps nothing of its last request
                if not await (self.exchange.run() if ctx.turnstile is None else self._pass(ctx.turnstile)):
                    break
                self.exchange = None
                timeout = ctx.timeouts.keep_alive
        except PeerError as exc:
            self.refusal = exc

    async def _head_at_hand(self) -> RequestHead | None:
        """A head that has been received already: a pipelined one, or in a drain what is still in the socket."""
        codec = self.codec
        if codec.trailing_data:
            await anyio.lowlevel.checkpoint()  # pipelined requests do not keep others waiting
        else:
            codec.receive_data(self.stream.receive_nowait() or b"")
        return codec.next_head()

    async def _rest_of_head(self, armed: Timeout["Http1Connection"]) -> RequestHead | None:
        """The head did not come in one piece: from its first byte on, its time runs. ``None``: the client left."""
        codec, header_timeout = self.codec, self.ctx.timeouts.header
        head = None
        if armed is not header_timeout:
            armed.disarm(self)
            header_timeout.arm(self)
        try:
            while head is None and codec.head_begun and (data := await self.stream.receive_some()):
                codec.receive_data(data)
                head = codec.next_head()
        finally:
            header_timeout.disarm(self)
        return head

    async def _pass(self, turnstile: Turnstile) -> bool:
        """Run the exchange when the turnstile lets it through."""
        assert self.exchange is not None
        if not await turnstile.enter():
            self.refusal = PeerError(503, "too many requests in progress")
            self.exchange.log_refusal()
            return False
        self.exchange.turnstile = turnstile
        try:
            return await self.exchange.run()
        finally:
            self.exchange.leave_turnstile()

    async def _finish_sending(self) -> None:
        """Let a slow client have the end of its last response, as long as it takes some of it now and then."""
        if self.exchange is not None and self._is_done and self.stream.unsent:
            self.stream.be_strict()
            await self.exchange.flush()

    async def _end(self) -> None:
        """Say what is left to say, whatever ended the connection, and close it."""
        if self._is_done:
            self.codec.receive_data(self.stream.receive_nowait() or b"")
            if not self.codec.trailing_data and self.stream.close_nowait():
                return
        try:
            if self._leaves_in_drain:  # a request may have come at the same moment; it is not lost
                with anyio.CancelScope(shield=True) as self._draining_scope:
                    await self._serve_requests()
            if not self.stream.lost:
                await self._say_farewell()
        finally:
            self.stream.abort()

    async def _say_farewell(self) -> None:
        """End the connection so that the client learns what there is to learn, within bounded time."""
        exchange = self.exchange
        with anyio.move_on_after(FAREWELL_SECONDS, shield=True):
            if exchange is not None:
                await exchange.stop_receiving()
            if self.refusal is not None and (exchange is None or exchange.unanswered):
                log.debug("%s: %s", self.stream.peer, self.refusal)
                answer = self._refusal_answer(self.refusal)
                self.stream.send_nowait(answer)
                if exchange is None and self.ctx.access_log is not None:
                    head, body = self.refusal.head or self.codec.trailing_data, answer.partition(b"\r\n\r\n")[2]
                    self.ctx.access_log.refused(Refused.from_head(head, self.refusal, self.stream.peer, len(body)))
                await self._linger()
            elif exchange is not None and not exchange.complete:
                self.stream.abort()  # a response cut short must not look complete (RFC 9112 §8)
            elif not self._forced and (self.codec.trailing_data or not self.codec.body_complete):
                await self._linger()
            await self.stream.aclose()

    def _refusal_answer(self, refusal: PeerError) -> bytes:
        head_only = self.exchange is not None and self.exchange.head.method == "HEAD"
        retry = [(b"retry-after", b"%d" % RETRY_AFTER_SECONDS)] if refusal.status == 503 else []
        return error_response(
            refusal.status, refusal.reason, self.ctx.standing_fields, with_body=not head_only,
            headers=[*refusal.fields, *retry],
        )

    async def _linger(self) -> None:
        """Let the client read the answer before its unread bytes make the kernel reset it all (RFC 9112 §9.6)."""
        await self.stream.drain()
        self.stream.send_eof()
        while await self.stream.receive_some():
            pass

    @property
    def _is_done(self) -> bool:
        """The last response is complete and nothing else is on the wire, in either direction."""
        return (
            self.exchange is not None
            and self.exchange.complete
            and self.refusal is None
            and self.codec.body_complete
            and not self.codec.trailing_data
            and not self.stream.congested
            and not self.stream.lost
        )

    # What the server and the timeouts call.

    @property
    def _leaves_in_drain(self) -> bool:
        return (
            self._cancelled
            and not self._forced
            and self._is_open
            and self.ctx.lifetime.draining
            and self.exchange is None
            and self.refusal is None
        )

    def announce_end(self) -> None:
        """The server will stop: a response whose head has not been made is the connection's last, and says so."""
        if self.exchange is not None and self.exchange.unanswered:
            self.exchange.response.keep_alive = False

    def drain(self) -> None:
        """The server stops: an idle connection goes at once, a request in progress is the last one."""
        if self.exchange is not None:
            self.exchange.drain()
        elif not self.codec.trailing_data and (self._is_open or self._handshake_timeout is None):
            self._cancel()  # a client in its TLS handshake is about to send a request

    def on_tls_handshake_timeout(self) -> None:
        """A client that has connected does not come to the end of its handshake."""
        log.debug("tls-handshake-timeout: closing the connection of %s", self.stream.peer)
        self.stream.abort()  # wakes open(), which raises ClientDisconnected

    def on_header_timeout(self) -> None:
        """A request head does not come, or not to its end."""
        if self.codec.trailing_data:
            self.refusal = PeerError(408, "the request head took too long")
        log.debug("header-timeout: closing the connection of %s", self.stream.peer)
        self._cancel()

    def on_keep_alive_timeout(self) -> None:
        """The client has nothing more to ask."""
        log.debug("keep-alive-timeout: closing the connection of %s", self.stream.peer)
        self._cancel()

    def cancel(self, reason: str) -> None:
        """End the connection now; a request in progress is named in the log with ``reason``."""
        if self.exchange is not None and not self.exchange.complete:
            self.exchange.log_end(reason)
        self._forced = True
        self._cancel()

    def _cancel(self) -> None:
        self._cancelled = True
        if self._draining_scope is not None:
            self._draining_scope.cancel()
        elif self._task is not None:
            self._task.cancel()

    @property
    def is_cancelled(self) -> bool:
        """Somebody has asked for the end of the connection, or of the whole server."""
        return self._cancelled or anyio.current_effective_deadline() == float("-inf")
