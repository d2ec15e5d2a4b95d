"""One stream of an HTTP/2 connection: outlet, inlet and owner of one request (RFC 9113 §5)."""

import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import anyio

from trioserve._asgi import FIRST_BODY, ScopeFactory
from trioserve._asgi.http2_response import Http2Response, status_field
from trioserve._complaints import complain
from trioserve._connection.context import ServerContext
from trioserve._connection.http2.body import Http2Inlet
from trioserve._connection.http2.congestion import Congestion
from trioserve._connection.http2.sender import Sender
from trioserve._connection.look import RequestLook
from trioserve._connection.request_body import NO_BODY
from trioserve._errors import ClientDisconnected, PeerError
from trioserve._protocol import RequestHead
from trioserve._protocol.http2.codec import Http2Codec
from trioserve._protocol.http2.frames import CANCEL, ENHANCE_YOUR_CALM, INTERNAL_ERROR, NO_ERROR
from trioserve._streams import Address, ByteStream, Cancellable, TaskFunction, WaitingTasks

if TYPE_CHECKING:
    from trioserve._connection.channel import Inlet
    from trioserve._connection.exchange import Exchange
    from trioserve._connection.websocket.session import WebSocket

    Http2Answer: TypeAlias = Exchange[Http2Response] | WebSocket[Http2Response]

__all__ = ["Carrier", "Http2Stream"]

log = logging.getLogger("trioserve")

SUCCESSES: Final = range(200, 400)  # statuses of answers that are no errors
CONTINUE: Final = [status_field(100)]
ALL_HAS_LEFT: Final = 2**62  # bytes, more than a connection can carry


class Carrier(Protocol):
    """The connection, as its streams see it."""

    ctx: ServerContext
    scopes: ScopeFactory
    stream: ByteStream
    codec: Http2Codec
    sender: Sender
    client_left: bool

    def start_child(self, function: TaskFunction, *args: object) -> Cancellable: ...

    def on_stream_ended(self, stream: "Http2Stream") -> None:
        """Its application has ended."""

    def on_stream_sent(self, stream: "Http2Stream") -> None:
        """The last of its bytes has left, or nothing more can be sent. May be called again."""

    def on_bug(self, bug: Exception) -> None:
        """End the connection, because nobody knows what state it is in."""


class Http2Stream:
    """Lives until its application has ended, and its answer has been sent.

    Attributes:
        id: its number on the connection.
        answer: to the request; ``None`` for one that was refused at once.
        response: how it looks in HTTP/2.
        inlet: the request's body.
        lost: nothing can be sent any more: it was reset, or the connection broke.
        congested: bytes wait for a window of the client's, or for the network.
        is_running: the application has not ended.
        skips_body: the answer has been sent; what still comes of the request is dropped, and its end is the stream's.
    """

    __slots__ = (
        "_congestion", "_connection", "_end_waits", "_has_slot", "_is_cancelled", "_task", "_watch", "answer",
        "congested", "id", "inlet", "is_running", "lost", "response", "skips_body",
    )  # fmt: skip

    response: Http2Response
    inlet: "Http2Inlet | Inlet"

    def __init__(self, stream_id: int, connection: Carrier) -> None:
        self.id = stream_id
        self._connection = connection
        self.answer: Http2Answer | None = None
        self.inlet = NO_BODY
        self._task: Cancellable | None = None  # that runs the application; until it waits it need not have one
        self.lost = False
        self.congested = False
        self.is_running = True
        self.skips_body = False
        self._has_slot = False  # in the turnstile
        self._is_cancelled = False
        self._congestion: Congestion | None = None  # once the client has let it wait
        self._end_waits: WaitingTasks | None = None  # made when somebody waits for it
        self._watch: TaskFunction | None = None  # ends a request without a client

    @property
    def file_outlet(self) -> None:
        """Files are framed as any other body."""

    def expect_body(self, head: RequestHead, limit: int | None) -> None:
        """The request has one; ``limit``: its bytes at most."""
        self.inlet = Http2Inlet(self, self.ctx, head.meaning, limit)

    # The task of the stream.

    def run_in(self, task: Cancellable) -> None:
        """The stream has a task of its own from now on, whose end may have been asked for already."""
        self._task = task
        if self._is_cancelled:
            task.cancel()

    async def run(self) -> None:
        """Run the application, and answer what it has not answered."""
        answer, turnstile = self.answer, self.ctx.turnstile
        assert answer is not None, "it was not refused"
        try:
            if turnstile is not None:
                self._has_slot = await answer.enter(turnstile)
            if turnstile is None or self._has_slot:
                await answer.run()
        except ClientDisconnected:
            pass  # whoever has waited for it knows
        except Exception as exc:  # ours, then: one stream's bug must not end the others
            complain(log, "Internal error on a stream of %s", self.peer, exc_info=exc)
        finally:
            self._end(answer)

    def _end(self, answer: "Http2Answer") -> None:
        self.is_running = False
        self._task = None  # which may run another request from now on
        try:
            self._conclude(answer)
            self._connection.on_stream_ended(self)
        except Exception as exc:
            self._connection.on_bug(exc)

    def _conclude(self, answer: "Http2Answer") -> None:
        """The application has ended: nobody else will answer."""
        if self.lost:
            return
        if answer.refusal is not None and answer.unanswered:
            self.answer_refusal(answer.refusal, with_body=answer.head.method != "HEAD")
        elif not answer.complete:
            self._cut_short()
        elif not self.response.ends:  # a tunnel, or only the application's last message was missing
            self.send_eof()

    def _cut_short(self) -> None:
        """What was sent arrives first: a reset drops what waits for a window, or for the network."""
        if self.unsent:
            self.inlet.stop_waiting()
            self._connection.sender.flush_soon()
        else:
            self.reset_if_cut()

    def reset_if_cut(self) -> None:
        """Reset a stream whose application has ended before its answer was complete."""
        if not self.is_running and not self.response.ends:
            self.reset(CANCEL if self._is_cancelled else INTERNAL_ERROR)

    def answer_refusal(self, refusal: PeerError, *, with_body: bool) -> None:
        """The server's own answer, which needs nothing of the request's body."""
        complain(log, "%s: %s", self.peer, refusal, level=logging.DEBUG)
        body = self.response.refuse(refusal)
        self.inlet.stop_waiting()
        self.send_nowait(body if with_body else b"")

    @property
    def is_answered(self) -> bool:
        """The client has got something of an answer, the application's or the server's own."""
        return self.response.state > FIRST_BODY or self.response.ends

    @property
    def in_progress(self) -> bool:
        """The client waits for something of the application's."""
        return self.answer is not None and self.answer.in_progress

    def look(self) -> RequestLook | None:
        """What can be seen of its request; ``None`` when it was refused at once."""
        return self.answer.look("stream", f"stream {self.id}", self.cancel) if self.answer is not None else None

    # Outlet.

    @property
    def peer(self) -> Address | None:
        return self._connection.stream.peer

    @property
    def local(self) -> Address | None:
        return self._connection.stream.local

    def send_nowait(self, data: bytes) -> None:
        """``data``, and before and after it what the response has to say."""
        if not self.lost:
            self._connection.sender.send(self, self.response, data)

    def send_pieces_nowait(self, pieces: Sequence[bytes], size: int) -> None:
        self.send_nowait(b"".join(pieces))

    def send_eof(self) -> None:
        """Nothing follows."""
        if not self.lost and not self.response.ends:
            self._connection.sender.end(self, self.response)

    def uncork(self) -> None:
        self._connection.sender.flush()
        self._connection.stream.uncork()  # which may hold it for other tasks of the turn

    def on_sent(self, unsent: int) -> None:
        """``unsent`` bytes wait: from the first of them to the last the stream is congested."""
        connection = self._connection
        if unsent and connection.client_left and not connection.stream.congested:
            self.reset(CANCEL)  # they wait for a window, and nobody will open it
        elif unsent and not self.congested:
            self.congested = True
            connection.codec.engine.share(self.id)
            self._congestion = self._congestion or Congestion(self, self.ctx, self._on_stuck)
            self._congestion.begin()
        elif not unsent:
            if self.congested:
                self._note_drained()
            if self.response.ends:
                self._finish()
            else:
                self.reset_if_cut()

    def _note_drained(self) -> None:
        if self.congested and self._congestion is not None:
            self.congested = False
            self._congestion.end()

    def _finish(self) -> None:
        """All has been sent."""
        inlet = self.inlet
        if not isinstance(inlet, Http2Inlet) or inlet.has_ended:
            self._connection.on_stream_sent(self)
        elif self.response.status in SUCCESSES:  # curl 7.88 goes on sending, and hangs
            self.reset(NO_ERROR)
        else:
            self.skips_body = True
            inlet.stop_waiting()
            self.start_child(self._skip_body, inlet)

    async def _skip_body(self, inlet: Http2Inlet) -> None:
        """Of the request: curl and httpx read no error when the stream is reset while they are still sending."""
        await inlet.wait_until_skipped()
        if not inlet.has_ended:
            self.reset(NO_ERROR)  # RFC 9113 §8.1

    async def drain(self) -> None:
        while self.congested and not self.lost and self._congestion is not None:
            await self._congestion.wait()
        if self.lost:
            raise ClientDisconnected("the client has gone")

    @property
    def unsent(self) -> int:
        return 0 if self.lost else self._connection.codec.engine.queued_body_size(self.id)

    def untaken(self) -> int:
        """While the stream's window is open, what the client takes of other streams is progress, too.

        When all has left, the number is smaller than before, and what is on its way below is left of it.
        """
        engine = self._connection.codec.engine
        queued = engine.queued_body_size(self.id)
        if not queued:
            return self._connection.stream.untaken() - ALL_HAS_LEFT
        if engine.stream_remote_window_size(self.id) > 0:
            return queued - self._connection.sender.sent_bytes
        return queued

    def _on_stuck(self) -> None:
        """The client has taken nothing for the whole write timeout."""
        if self.answer is not None:
            self.answer.request.say_end("write-timeout")
        self.reset(ENHANCE_YOUR_CALM)

    def is_disconnected(self) -> bool:
        return self.lost or self._connection.client_left

    async def wait_disconnected(self) -> None:
        while not self.is_disconnected():
            await self.end_waits().wait()

    def abort(self) -> None:
        self.reset(CANCEL)

    def reset(self, code: int) -> None:
        """End the stream, and drop what is unsent."""
        if not self.lost:
            self.inlet.stop_waiting()
            self._connection.codec.reset_stream(self.id, code)
            self._connection.sender.flush_soon()
            self.on_lost()

    def on_lost(self) -> None:
        """Nothing can be sent any more, and nothing comes."""
        self.lost = True
        self._connection.sender.forget(self)
        self._note_drained()
        self.on_left()
        self._connection.on_stream_sent(self)

    def on_left(self) -> None:
        """The client has gone, or the stream has."""
        if isinstance(self.inlet, Http2Inlet):
            self.inlet.wake()
        if self._end_waits is not None:
            self._end_waits.wake()
        if (watch := self._watch) is not None:
            self._watch = None
            self.start_child(watch)

    def forget(self) -> None:
        """It has ended in every respect: let go of whatever knows it, so that no cycle stays."""
        self.answer = self._task = self._congestion = self._watch = None
        self.inlet = NO_BODY

    # What the inlet asks, and a tunnel.

    def acknowledge(self, size: int) -> None:
        engine = self._connection.codec.engine
        if size and not self.lost and not engine.is_over:
            engine.acknowledge_received_data(size, self.id)
            self._connection.sender.flush_soon()

    def ask_for_body(self) -> None:
        if not self.lost:
            self._connection.codec.engine.send_informational_response(self.id, CONTINUE)
            self._connection.sender.flush()

    def has_input(self) -> bool:
        return self._connection.stream.has_input()

    def interrupt(self) -> None:
        """Nobody waits for a request on a stream that is one."""

    async def receive_some(self, max_bytes: int = 0) -> bytes:
        """What has come through the tunnel; ``b""`` at its end. Raises ClientDisconnected."""
        inlet = self.inlet
        while not (data := inlet.take_body()) and not inlet.body_complete:
            if self.is_disconnected():
                raise ClientDisconnected("the client has gone")
            await inlet.receive_more(may_ask=False)
        return data

    # Owner.

    @property
    def ctx(self) -> ServerContext:
        return self._connection.ctx

    @property
    def scopes(self) -> ScopeFactory:
        return self._connection.scopes

    @property
    def is_cancelled(self) -> bool:
        return self._is_cancelled or anyio.current_effective_deadline() == -math.inf

    def cancel(self, reason: str) -> None:
        self.on_cancelled(reason)
        if self._task is not None:
            self._task.cancel()

    def on_cancelled(self, reason: str) -> None:
        if self.answer is not None:
            self.answer.request.say_end(reason)
        self._is_cancelled = True

    def start_child(self, function: TaskFunction, *args: object) -> Cancellable:
        return self._connection.start_child(function, *args)

    def start_watch(self, function: TaskFunction) -> None:
        """The connection tells when the client has left: until then no task is needed."""
        if self.is_disconnected():
            self.start_child(function)
        else:
            self._watch = function

    def end_waits(self) -> WaitingTasks:
        if self._end_waits is None:
            self._end_waits = self.ctx.new_waiting_tasks()
        return self._end_waits

    def on_early_answer(self, *, reads_on: bool) -> None:
        """Each stream has its own body: nobody has to read past it."""

    def on_answered(self) -> None:
        if self._has_slot and self.ctx.turnstile is not None:
            self._has_slot = False
            self.ctx.turnstile.leave()

    def let_go_on(self) -> bool:
        return True  # nobody waits for it

    def open_tunnel(self) -> bytes:
        return b""  # it comes through the inlet
