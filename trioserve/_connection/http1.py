"""The life of an HTTP/1.1 connection: requests one after the other, then a farewell (RFC 9112 §9).

It is a relay of tasks in the connection's nursery. One task at a time *holds* the connection: it waits for a request
and runs the application inline. It hands the connection on to a successor when an application goes on after its
response, and where each request shall have a task of its own, after each request.
"""

import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import anyio
import anyio.lowlevel

from trioserve._asgi import COMPLETE, ScopeFactory
from trioserve._asgi.http1_response import Http1Response
from trioserve._complaints import complain
from trioserve._connection.boundary import guarded, report_bug
from trioserve._connection.context import ServerContext
from trioserve._connection.end_waits import EndWaits
from trioserve._connection.exchange import Exchange
from trioserve._connection.farewell import Farewell
from trioserve._connection.look import Awaited, Phase, RequestLook, awaited
from trioserve._connection.patience import Patience
from trioserve._connection.records import InProgress
from trioserve._connection.relay import Relay
from trioserve._connection.request import Request
from trioserve._connection.request_body import NO_BODY, Http1Inlet, WholeBody
from trioserve._connection.turnstile import Turnstile
from trioserve._connection.websocket_limits import WebSocketLimits
from trioserve._errors import ClientDisconnected, PeerError
from trioserve._protocol import RequestHead
from trioserve._streams import ByteStream, Cancellable, CancellableNursery, TaskFunction

if TYPE_CHECKING:
    from trioserve._connection.channel import Inlet
    from trioserve._connection.websocket.session import WebSocket

    Http1Answer: TypeAlias = Exchange[Http1Response] | WebSocket[Http1Response]

__all__ = ["Http1Connection"]

log = logging.getLogger("trioserve")

GO_ON: Final = 8  # applications of one connection that may go on after their responses; then the next request waits


class Http1Connection:
    """One stream with a codec: what its requests share.

    Attributes:
        exchange: the request in progress, or the last one until the next is waited for.
        refusal: what is wrong with the connection itself; it ends with an error answer.
    """

    __slots__ = (
        "_farewell", "_going_on", "_has_slot", "_inlet", "_is_cancelled", "_nursery", "_patience", "_relay", "codec",
        "ctx", "exchange", "refusal", "scopes", "stream",
    )  # fmt: skip

    def __init__(
        self, stream: ByteStream, scopes: ScopeFactory, ctx: ServerContext, nursery: CancellableNursery
    ) -> None:
        self.stream = stream
        self.scopes = scopes
        self.ctx = ctx
        self.codec = ctx.new_codec()
        self.exchange: Http1Answer | None = None
        self.refusal: PeerError | None = None
        self._nursery = nursery
        self._relay = Relay(nursery, ctx.new_waiting_tasks)
        self._going_on: set[Http1Answer] = set()  # after their responses
        self._has_slot = False  # in the turnstile
        self._inlet: Inlet = NO_BODY
        self._is_cancelled = False
        self._farewell: Farewell | None = None
        self._patience = stream.observer = Patience(stream, ctx, self._on_stuck)

    async def await_first_request(self) -> None:
        """A drain has begun while the client was getting ready to send a request, which is no time to hang up."""
        self._patience.expect(self.ctx.timeouts.header)
        try:
            self.codec.receive_data(await self.stream.receive_some())
        finally:
            self._patience.stop()

    # The relay.

    async def hold(self) -> None:
        """The hot path: wait, parse, run the application, and again; until the end, or until a successor takes over.

        The stream is closed at the end, although applications may go on.
        """
        relay = self._relay
        turn = relay.turn
        try:
            try:
                head = self._head_at_hand()
                while head is not None or (head := await self._next_head()) is not None:
                    self.exchange = exchange = self._new_exchange(head)
                    head = None
                    try:
                        if self.ctx.turnstile is None or await self._enter(self.ctx.turnstile, exchange):
                            await exchange.run()
                        may_be_followed = exchange.response.keep_alive
                    finally:
                        if self._going_on:
                            self._going_on.discard(exchange)
                        del exchange
                    if self.ctx.task_per_request and turn == relay.turn and (may_be_followed or not self._is_quiet):
                        self._hand_on()
                    if turn != relay.turn:
                        break
            except PeerError as exc:
                self.refusal = exc
                self.ctx.lifetime.strike(exc.limit)
            finally:
                if turn == relay.turn:
                    relay.end()
                    await self._end()
        except ClientDisconnected:
            self.stream.abort()
        except Exception as exc:  # ours, then: one connection's bug must not end the others
            report_bug(self.stream, exc)
            self.stream.abort()

    async def _hold_again(self) -> None:
        """Hold the connection; and again, whenever the application of another task goes on after its response."""
        relay = self._relay
        task = relay.holder
        await self.hold()
        while await relay.is_needed(task):
            await self.hold()

    def _hand_on(self) -> None:
        """Let a successor wait for the next request. An idle connection has no task, where each request has its own."""
        if self._going_on:
            self._relay.hand_on(self.hold if self.ctx.task_per_request else self._hold_again)
            return
        self._relay.hand_to_nursery()
        if self._is_quiet and not self.ctx.lifetime.closing:
            self.exchange = None
            self._inlet = NO_BODY
            self._patience.expect(self.ctx.timeouts.keep_alive)
            self._nursery.start_on_input(self.hold, self.stream)
        else:
            self._nursery.start_inside(self.hold)

    def _head_at_hand(self) -> RequestHead | None:
        """What has started the holder of an idle connection, which mostly is one whole head: then nobody waits."""
        patience = self._patience
        if not patience.expects or patience.is_over or self.ctx.lifetime.draining:
            return None
        patience.stop()
        self.codec.receive_data(self.stream.receive_nowait() or b"")
        return self.codec.next_head()

    async def _next_head(self) -> RequestHead | None:
        """The next request; ``None`` when there will be none. Raises PeerError, ClientDisconnected."""
        codec, stream, timeouts, patience = self.codec, self.stream, self.ctx.timeouts, self._patience
        timeout, head = timeouts.header, None
        if (last := self.exchange) is not None:
            if not last.response.keep_alive or last.response.state != COMPLETE or last.refusal is not None:
                return None
            if codec.body_remaining != 0 and (self.ctx.lifetime.draining or not await self._skip_body()):
                return None
            if stream.congested:
                await stream.drain()  # what one client may keep us holding is one response
            self.exchange = last = None  # an idle connection keeps nothing of its last request
            self._inlet = NO_BODY
            timeout = timeouts.keep_alive
            if self.ctx.lifetime.closing:
                await self._settle()
        try:
            if codec.trailing_data or self.ctx.lifetime.draining or patience.is_over:
                head = await self._head_received()
                if head is None and not codec.trailing_data and self.ctx.lifetime.draining:
                    return None
            if head is None:
                patience.expect(timeout if not codec.trailing_data else timeouts.header)
            while head is None and not patience.is_over:
                codec.receive_data(data := await stream.receive_some())
                if (head := codec.next_head()) is None:
                    if not data:
                        break
                    if codec.head_begun:
                        patience.expect_rest(timeouts.header)
        finally:
            patience.stop()
        if patience.is_over:
            if head is not None:  # at the very end of its time
                patience.begin_anew()
            elif codec.trailing_data:
                raise PeerError(408, "the request head took too long")
        return head

    async def _settle(self) -> None:
        """The server stops, and the last response, which had begun before, has promised to take another request."""
        with anyio.move_on_after(self.ctx.lifetime.settle_seconds):
            while not self.codec.trailing_data and not self.stream.is_disconnected():
                self.codec.receive_data(await self.stream.receive_some())

    async def _head_received(self) -> RequestHead | None:
        """A head that has come already: a pipelined one, or what is in the socket when nobody waits any longer."""
        if self.codec.trailing_data:
            await anyio.lowlevel.checkpoint()  # pipelined requests do not keep others waiting
        else:
            self.codec.receive_data(self.stream.receive_nowait() or b"")
        return self.codec.next_head()

    async def _skip_body(self) -> bool:
        assert isinstance(self._inlet, Http1Inlet), "there is a body"
        return await self._inlet.skip()

    def _new_exchange(self, head: RequestHead) -> "Http1Answer":
        ctx = self.ctx
        response = Http1Response(head, ctx.standing_fields)
        if ctx.lifetime.closing or self.codec.heads_read == ctx.requests_per_connection:
            response.keep_alive = False
        if self.codec.body_remaining != 0:
            self._inlet = self._new_inlet(head)
        if head.meaning.offers_websocket and ctx.websockets is not None and head.method == "GET":
            return self._new_websocket(head, response, ctx.websockets)
        return Exchange(head, response, self.stream, self._inlet, self)

    def _new_inlet(self, head: RequestHead) -> "Inlet":
        codec = self.codec
        if codec.body_remaining is not None and codec.body_remaining <= len(codec.trailing_data):
            return WholeBody(codec.take_body())
        return Http1Inlet(self.stream, codec, self.ctx, awaits_continue=head.meaning.expects_continue)

    def _new_websocket(self, head: RequestHead, response: Http1Response, limits: WebSocketLimits) -> "Http1Answer":
        # wsproto brings h11 along: a quarter of a server's start, which most servers never need.
        from trioserve._connection.websocket.session import WebSocket

        response.keep_alive = False  # frames that a client sent too early are no requests
        return WebSocket(head, response, self.stream, self, limits)

    async def _enter(self, turnstile: Turnstile, exchange: "Http1Answer") -> bool:
        self._has_slot = await exchange.enter(turnstile)
        return self._has_slot

    # What an exchange asks of its owner.

    def start_child(self, function: TaskFunction, *args: object) -> Cancellable:
        return self._nursery.start_soon(guarded(function, self.stream, self.stream.abort), *args)

    def start_watch(self, function: TaskFunction) -> None:
        self.start_child(function)

    def end_waits(self) -> EndWaits:
        return EndWaits(self.stream, self.ctx.new_waiting_tasks())

    def on_early_answer(self, *, reads_on: bool) -> None:
        if self.exchange is not None and isinstance(self._inlet, Http1Inlet):
            may_be_read = reads_on and not self._inlet.awaits_continue
            if not may_be_read and not self._inlet.leaves_little:
                self.exchange.response.keep_alive = False  # somebody would have to read what is left of the body

    def on_answered(self) -> None:
        if self._has_slot and self.ctx.turnstile is not None:
            self._has_slot = False
            self.ctx.turnstile.leave()

    def let_go_on(self) -> bool:
        if self.exchange is None or len(self._going_on) >= GO_ON:
            return False
        self._going_on.add(self.exchange)
        self._hand_on()
        return True

    def open_tunnel(self) -> bytes:
        return self.codec.switch_protocols()

    @property
    def is_cancelled(self) -> bool:
        return self._is_cancelled or anyio.current_effective_deadline() == -math.inf

    def cancel(self, reason: str) -> None:
        if self.exchange is not None:
            self.exchange.request.say_end(reason)
            self.exchange.response.keep_alive = False  # the next application would be cancelled, too
        self._is_cancelled = True
        self._relay.holder.cancel()

    # What the server asks.

    def announce_end(self) -> None:
        if self.exchange is not None and self.exchange.unanswered:
            self.exchange.response.keep_alive = False

    def drain(self) -> None:
        if self.exchange is not None and self.exchange.in_progress:
            self.exchange.drain()
        elif not self.codec.trailing_data:
            self._patience.leave()

    def cancel_all(self, reason: str) -> None:
        """End everything on the connection, and name in the log what is still running."""
        for request in self.unfinished():
            request.say_end(reason)
        self._is_cancelled = True
        self._farewell = self._farewell or Farewell(self.stream, self.codec, self.ctx)
        self._farewell.hurry()
        self._nursery.cancel()

    def unfinished(self) -> list[Request]:
        """What is still running."""
        requests = [exchange.request for exchange in self._going_on]
        if self.exchange is not None and self.exchange.in_progress and self.exchange not in self._going_on:
            requests.append(self.exchange.request)
        return requests

    # What whoever looks at the tree, or counts, asks.

    def in_progress(self) -> Sequence[InProgress]:
        last = self.exchange
        return (last,) if last is not None and last.in_progress else ()

    @property
    def version(self) -> str:
        return "1.1"

    @property
    def phase(self) -> Phase:
        if self.exchange is not None and self.exchange.in_progress:
            return "APP"
        if self._farewell is not None:
            return "FAREWELL"
        if self._running:
            return "AFTER"
        return "HEAD" if self.codec.head_begun else "IDLE"

    @property
    def _running(self) -> list["Http1Answer"]:
        """Requests whose application has not ended."""
        last = self.exchange
        if last is None and not self._going_on:
            return []
        has_ended = last is None or last in self._going_on or last.request.app_has_ended
        return [*self._going_on, *([] if last is None or has_ended else [last])]

    def requests(self) -> list[RequestLook]:
        return [
            answer.look("request", cancel=self.cancel if answer.in_progress else None) for answer in self._running]

    @property
    def awaited(self) -> Awaited | None:
        return awaited(self._patience.expects, self._patience)

    # The end.

    async def _end(self) -> None:
        """Say what is left to say, whatever ended the connection, and close it."""
        stream, codec = self.stream, self.codec
        if self._is_quiet and not self._patience.is_over:
            codec.receive_data(stream.receive_nowait() or b"")
        if self._is_quiet and not stream.unsent and stream.close_nowait():  # a slow client gets what is held back, too
            return
        self._farewell = farewell = self._farewell or Farewell(stream, codec, self.ctx)
        try:
            if not stream.lost:
                await farewell.say(self.exchange, self._inlet, self.refusal)
        finally:
            stream.abort()

    def forget(self) -> None:
        """All tasks have ended: let go of whatever knows this connection, so that no cycle stays."""
        self.stream.observer = self.exchange = self.refusal = None
        self._inlet = NO_BODY
        del self._patience

    @property
    def _is_quiet(self) -> bool:
        """There is nothing to say, and nothing on the wire in either direction."""
        last = self.exchange
        return (
            (last is None or (last.complete and last.refusal is None))
            and self.refusal is None
            and self.codec.body_complete
            and not self.codec.trailing_data
            and not self.stream.congested
            and not self.stream.lost
        )

    def _on_stuck(self) -> None:
        """The client has taken nothing for the whole write timeout."""
        if self.exchange is not None and self.exchange.in_progress:
            self.exchange.request.say_end("write-timeout")
        else:
            complain(log, "write-timeout: %s does not read its response", self.stream.peer, level=logging.WARNING)
        self.stream.abort()  # wakes whoever waits for it, and send() raises ClientDisconnected
