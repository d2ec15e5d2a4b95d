"""The life of an HTTP/2 connection: many requests at a time, each on a stream of its own (RFC 9113).

One task at a time *holds* the connection: it receives, and begins what has come. On asyncio each request gets a task.
On trio the holder runs the application itself, because most end without waiting; when one waits, the holder stays with
it, and a successor holds the connection.
"""

import logging
from collections.abc import Awaitable, Sequence

import anyio
import anyio.lowlevel

from trioserve._asgi import ScopeFactory
from trioserve._complaints import complain
from trioserve._connection.boundary import guarded, report_bug
from trioserve._connection.context import ServerContext
from trioserve._connection.http2.goodbye import Goodbye
from trioserve._connection.http2.reception import Reception
from trioserve._connection.http2.sender import Sender
from trioserve._connection.http2.stream import Http2Stream
from trioserve._connection.http2.streams import Http2Streams
from trioserve._connection.http2_terms import Http2Terms
from trioserve._connection.inline import continue_as_it_is
from trioserve._connection.look import Awaited, Phase, RequestLook, awaited
from trioserve._connection.patience import Patience
from trioserve._connection.records import InProgress
from trioserve._connection.relay import Relay
from trioserve._connection.request import Request
from trioserve._connection.turn import Turn
from trioserve._errors import ClientDisconnected
from trioserve._protocol.http2.frames import PROTOCOL_ERROR, REFUSED_STREAM, FieldSectionTooLarge, Http2Error
from trioserve._streams import ByteStream, Cancellable, CancellableNursery, TaskFunction

__all__ = ["Http2Connection"]

log = logging.getLogger("trioserve")


class Http2Connection:
    """One stream of bytes with a codec, and the streams of HTTP/2 on it.

    Attributes:
        client_left: it has finished sending.
    """

    __slots__ = (
        "_application_ended", "_goodbye", "_nursery", "_patience", "_reception", "_relay", "_streams", "_terms",
        "client_left", "codec", "ctx", "scopes", "sender", "stream",
    )  # fmt: skip

    def __init__(
        self, stream: ByteStream, scopes: ScopeFactory, ctx: ServerContext, terms: Http2Terms,
        nursery: CancellableNursery,
    ) -> None:  # fmt: skip
        self.stream = stream
        self.scopes = scopes
        self.ctx = ctx
        self.codec = terms.new_codec(tunnels=ctx.websockets is not None)
        self.client_left = False
        self._terms = terms
        self._nursery = nursery
        self._relay = Relay(nursery, ctx.new_waiting_tasks)
        self._application_ended: anyio.Event | None = None  # made by who waits for it
        self._streams = Http2Streams()
        self._patience = Patience(stream, ctx, self._on_stuck)
        self.sender = stream.observer = Sender(
            stream, self.codec, self._patience, self._streams, self._on_over)
        self._goodbye = Goodbye(stream, self.sender, ctx.clock())
        self._reception = Reception(self, self._streams, self._goodbye, terms)

    def begin(self, early: bytes) -> None:
        """``early``: what has been received already."""
        self.stream.send_nowait(self.codec.opening)
        self._patience.expect(self.ctx.timeouts.header)
        self._relay.begin(self.hold, early)
        if self.ctx.lifetime.draining:
            self.drain()

    # The relay.

    async def hold(self, data: bytes = b"") -> None:
        """Receive and begin requests; until the end, or until a successor takes over. Then be needed again, perhaps."""
        relay = self._relay
        task, is_needed = relay.holder, True
        while is_needed:
            turn = relay.turn
            try:
                try:
                    if data:
                        self._take_in(data)
                    while turn == relay.turn:
                        if (begun := self._begin_waiting()) is not None:
                            await begun
                        elif not await self._receive():
                            break
                except Http2Error as exc:
                    self._fail(exc)
                finally:
                    if turn == relay.turn:
                        await self._end()
            except ClientDisconnected:
                self._break()
            except Exception as exc:
                self.on_bug(exc)
            is_needed, data = await relay.is_needed(task), b""

    def _begin_waiting(self) -> Awaitable[None] | None:
        """Begin the requests that wait, as far as there is room; ``None`` when that is done.

        What is returned has to be awaited before the others can begin. It may be the application of one of them.
        """
        pace = Turn()
        others_run = False
        while (stream := self._streams.take_waiting(self._terms.max_streams)) is not None:
            if self.ctx.task_per_request:
                if (task := self._nursery.start_at_once(stream.run)) is not None:
                    stream.run_in(task)
                    others_run = True
                elif pace.is_over():
                    return anyio.lowlevel.checkpoint()
                continue
            running = stream.run()
            try:
                trap = running.send(None)
            except StopIteration:
                if pace.is_over():
                    return anyio.lowlevel.checkpoint()
            else:
                self._hand_on(stream)
                return continue_as_it_is(running, trap)
        return anyio.lowlevel.checkpoint() if others_run else None  # what they answer leaves together

    def _hand_on(self, stream: Http2Stream) -> None:
        """Its application waits, in the task of the holder. A successor receives what comes meanwhile."""
        stream.run_in(self._relay.hand_on(self.hold))

    async def _receive(self) -> bool:
        """Wait for bytes and take them in; false when nothing more will come, and nothing is left to do."""
        self.sender.collects = False
        if self.client_left:
            return await self._wait_for_streams()
        self.sender.flush()
        self._await_something()
        if self.codec.engine.is_over:
            raise Http2Error(PROTOCOL_ERROR, "the client broke the protocol, or has said goodbye")
        if self._has_finished:
            return False
        data = await self.stream.receive_some()
        if data:
            if not self.sender.has_stopped:  # meanwhile; an engine that is over takes everything for an error
                self._take_in(data)
        elif self.stream.is_disconnected():
            self._on_client_left()
        return True

    async def _wait_for_streams(self) -> bool:
        """No further request will come. Those that wait may begin when others have ended."""
        stream_over = self._goodbye.next_stream_over()
        self.sender.flush()  # which may be the end of some
        if self._streams and not self.stream.lost:
            await stream_over.wait()
        return bool(self._streams) and not self.stream.lost

    def _take_in(self, data: bytes) -> None:
        self.sender.collects = True
        try:
            self.codec.receive_data(data, self.ctx.clock(), self._reception)
        except FieldSectionTooLarge as exc:
            self._reception.refuse_unread(exc)
            self._on_client_left()
        if self._patience.expects is self.ctx.timeouts.header:
            self._time_head()

    def _time_head(self) -> None:
        """More of the head has come, or another one, which has a time of its own."""
        guard = self.codec.guard
        if guard.section_at is not None:
            self._patience.stop()
        elif guard.awaits_fields:
            self._patience.expect_rest(self.ctx.timeouts.header)

    def _await_something(self) -> None:
        """Let the right time run: for the rest of a head, or for the next request when there is none."""
        patience, timeouts, is_leaving = self._patience, self.ctx.timeouts, self._goodbye.is_leaving
        if patience.is_over:
            if self._streams or patience.expects is self._terms.idle:
                patience.begin_anew()
                self.leave_soon()  # a request may be on the way, or has just come
        elif self.codec.guard.awaits_fields and not is_leaving:
            if patience.expects is not timeouts.header:
                patience.stop()
                patience.expect(timeouts.header)
        elif self._streams or is_leaving:
            patience.stop()
        elif not self.codec.guard.has_begun:
            patience.expect(timeouts.header)
        elif patience.expects is not self._terms.idle:
            patience.stop()
            patience.expect(self._terms.idle)

    @property
    def _has_finished(self) -> bool:
        return self._patience.is_over or (self._goodbye.is_final and not self._streams)

    # What the streams tell and ask.

    def on_stream_sent(self, stream: Http2Stream) -> None:
        if self._streams.on_sent(stream):
            self._see_what_is_left()

    def on_stream_ended(self, stream: Http2Stream) -> None:
        if self._streams.on_ended(stream):
            self._see_what_is_left()
        if self._application_ended is not None:
            self._application_ended.set()

    def _see_what_is_left(self) -> None:
        if self._streams.waiting:
            self.stream.interrupt()  # there is room for one more
            self._goodbye.on_stream_over()
        elif not self._streams:
            self._on_empty()

    def _on_empty(self) -> None:
        self._goodbye.on_stream_over()
        if self.ctx.lifetime.closing:
            self.drain()
        if self._goodbye.is_final:
            self.stream.interrupt()
        elif not self.stream.lost:
            self._await_something()

    def start_child(self, function: TaskFunction, *args: object) -> Cancellable:
        return self._nursery.start_soon(guarded(function, self.stream, self._break), *args)

    def on_bug(self, bug: Exception) -> None:
        """Of ours: it must not end other connections."""
        report_bug(self.stream, bug)
        self._break()

    # What the server asks.

    def announce_end(self) -> None:
        if not self._goodbye.is_announced and not self._goodbye.awaits_first_request(self.ctx.clock()):
            self._goodbye.announce()

    def drain(self) -> None:
        """Streams in progress are finished; then the connection is closed."""
        self.announce_end()
        self.leave_soon()
        self._streams.drain()

    def leave_soon(self) -> None:
        if not self._goodbye.is_leaving and not self.stream.lost:  # at the end of a lost one no task can be started
            self._goodbye.is_leaving = True
            self.start_child(self._leave)

    async def _leave(self) -> None:
        await self._goodbye.say()
        if not self._streams:
            self.stream.interrupt()

    def cancel_all(self, reason: str) -> None:
        """End everything on the connection, and name in the log what is still running."""
        self._streams.on_cancelled(reason)
        self._goodbye.hurry()
        self._nursery.cancel()

    def unfinished(self) -> list[Request]:
        """What is still running."""
        return [stream.answer.request for stream in self._streams.busy if stream.answer is not None]

    # What whoever looks at the tree, or counts, asks.

    def in_progress(self) -> Sequence[InProgress]:
        return self._streams.in_progress()

    @property
    def version(self) -> str:
        return "2"

    @property
    def phase(self) -> Phase:
        if busy := self._streams.busy:
            return "APP" if any(stream.in_progress for stream in busy) else "AFTER"
        if self._goodbye.is_leaving or self._goodbye.is_final or self.client_left:
            return "FAREWELL"
        return "HEAD" if self.codec.guard.awaits_fields else "IDLE"

    def requests(self) -> list[RequestLook]:
        return [look for stream in self._streams.busy if (look := stream.look()) is not None]

    @property
    def awaited(self) -> Awaited | None:
        return awaited(self._patience.expects, self._patience)

    # The end.

    def _on_client_left(self) -> None:
        """It has finished sending. What it has asked for is still answered, as far as its windows allow."""
        self.client_left = True
        self.sender.flush()
        self._streams.on_client_left()

    def _fail(self, error: Http2Error) -> None:
        """The client broke the protocol, or has used up what it may do of something."""
        self.ctx.lifetime.strike(error.limit)
        if error.limit:  # a browser's user sees a page that is broken, and nobody else would hear of it
            complain(log, "Ended the HTTP/2 connection of %s: %s (--%s)", self.stream.peer, error,
                     error.limit.replace("_", "-"), level=logging.WARNING)
        else:
            complain(log, "%s: %s", self.stream.peer, error, level=logging.DEBUG)
        self._streams.lose()  # first: an engine in this state takes nothing of theirs any more
        if self.codec.engine.has_failed:
            self.sender.stop()
        self.sender.flush()  # the engine may have found something, too, and says so
        if not self.codec.engine.is_over:
            self._goodbye.say_last(error.code)
        self.sender.stop()

    def _on_over(self) -> None:
        """The engine has had its last word, which was a GOAWAY of its own, or an answer to a client that has left."""
        self._goodbye.is_final = True
        self._streams.lose()
        self.stream.interrupt()

    async def _end(self) -> None:
        """Say what is left to say, whatever ended the connection, and close it."""
        self._patience.stop()
        try:
            if not self.stream.lost:
                await self._goodbye.close(self._wait_for_applications)
        finally:
            self._break()

    async def _wait_for_applications(self) -> None:
        """Those that are cancelled answer, or their streams are reset, as long as that can be sent.

        Requests that have not begun never will, and can be sent again.
        """
        for stream in tuple(self._streams.waiting):
            self._streams.drop_waiting(stream)
            stream.reset(REFUSED_STREAM)
        while not self.stream.lost and any(not stream.lost for stream in self._streams.busy):
            self._application_ended = anyio.Event()
            await self._application_ended.wait()
        self._streams.reset_cut()  # nobody hears any more of windows that are opened

    def _break(self) -> None:
        """Nothing can be sent any more."""
        self._goodbye.stop_waiting()
        if self._application_ended is not None:  # nothing will tell the end of the others
            self._application_ended.set()
        self.sender.stop()
        self.stream.abort()
        self._streams.lose()
        self._relay.end()

    def forget(self) -> None:
        """All tasks have ended: let go of whatever knows this connection, so that no cycle stays."""
        self.stream.observer = None
        del self._patience, self.sender, self._goodbye, self._reception, self._relay

    def _on_stuck(self) -> None:
        """The client has taken nothing for the whole write timeout."""
        complain(log, "write-timeout: %s does not read its responses", self.stream.peer, level=logging.WARNING)
        for answer in self._streams.in_progress():
            answer.request.say_end("write-timeout")
        self._break()
