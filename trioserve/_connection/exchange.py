"""One request with its response: the application runs inline, its ``receive`` and ``send`` reach the socket themselves.

The rules live in pure objects (``Http1Codec``, ``HttpResponse``); the methods here move bytes and watch the time.
"""

import logging
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
import anyio.lowlevel

from trioserve._asgi import BODY, COMPLETE, FIRST_BODY, MESSAGE_COST, RUN_BYTES, HttpResponse, error_body
from trioserve._connection.inline import await_point, continue_inline, orders_and_errors
from trioserve._connection.request_body import SKIP_BYTES, BodyReceiver
from trioserve._connection.supervision import Supervision
from trioserve._errors import ClientDisconnected, PeerError, follows_disconnect, without_disconnects
from trioserve._hints import backend_hint
from trioserve._protocol import RequestHead
from trioserve._streams import GATHER_BYTES, Address
from trioserve._types import Message, Scope

if TYPE_CHECKING:
    from trioserve._connection.context import AccessLog
    from trioserve._connection.http1 import Http1Connection
    from trioserve._connection.turnstile import Turnstile

__all__ = ["Exchange"]

log = logging.getLogger("trioserve")

GIVE_WAY_BYTES: Final = 256 * 1024  # sent without a pause before others get a turn: less than a millisecond
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Exchange:
    """Runs the application for one request.

    Attributes:
        head: the request.
        response: how far the response is.
        started: when the request began, in ``time.perf_counter`` seconds.
        end_reason: why it was ended before its time, as it is logged; empty otherwise.
        skips_body: the application has ended, and left some of the request body.
    """

    # Defaults of the class, not of each instance: most requests never touch these.
    _give_way_at = GIVE_WAY_BYTES  # response.work by which others get a turn
    _run = cast("list[bytes]", ())  # body parts sent in a row, not encoded yet; a list once there may be any
    _run_began_with = 0  # the ``_run_room`` that it had
    _counted = 0  # of ``_pieces``: runs know their size, and to count a hundred parts again is 2 of 70 us
    _counted_bytes = 0
    _receiver: BodyReceiver | None = None  # once the body is not here and somebody wants it
    skips_body = False
    _supervision: Supervision | None = None
    _end_waits: list[anyio.CancelScope] | None = None
    _drain_waits = 0  # tasks that wait for a slow client
    _untaken_seen = 0  # when the write timeout was armed
    _told_to_stop = False  # an http.disconnect has been received
    _request_id: str | None = None
    end_reason = ""  # of what ended it before its time
    turnstile: "Turnstile | None" = None  # where this request holds a slot

    def __init__(self, connection: "Http1Connection", head: RequestHead) -> None:
        ctx = connection.ctx
        self.connection = connection
        self._stream = connection.stream
        self._codec = connection.codec
        self.head = head
        self.response = HttpResponse(head, ctx.standing_fields)
        if ctx.lifetime.closing:
            self.response.keep_alive = False
        self.started = time.perf_counter()
        self._pieces: list[bytes] = []  # encoded, not handed to the stream yet
        self._flush_at = RUN_BYTES  # response.work by which what has collected is sent
        self._app_runs = True  # the application is between two suspensions of its own task
        self._run_room = 0  # bytes until ``_run`` must go; 0 when anything else may have happened since the last part
        self._body_given = False  # the last http.request event has been received
        self._coro: Coroutine[Any, Any, None] | None = None

    # Running the application.

    async def run(self) -> bool:
        """Call the application and see its response through; true when the connection is fit for another request.

        What the application raises ends here, but for cancellation.
        """
        connection = self.connection
        ctx = connection.ctx
        try:
            scope = self._new_scope()
            extensions = scope["extensions"]
            extensions["trioserve.shutdown"] = ctx.lifetime.shutdown_extension
            if ctx.request_ids is not None:
                extensions["trioserve.request_id"] = {"get": self.request_id}
            if ctx.supervise:
                self._begin_supervision(extensions)
            self._coro = coro = ctx.app(scope, self.receive, self.send)
            context = ctx.new_app_context()
            try:
                trap = context.run(coro.send, None)
            except StopIteration:
                pass  # it never waited
            else:
                await continue_inline(coro, trap, context, self)
            if self.response.state != COMPLETE:
                await self._on_incomplete_response()
        except Exception as exc:
            self._on_app_error(exc)
        except BaseException as exc:
            order, error = orders_and_errors(exc, cancelled=connection.is_cancelled)
            if error is not None:
                self._on_app_error(error)
            if order is not None:
                raise order from None
        finally:
            self._app_runs = False
            self._body_given = True  # a task that outlives the application must not get the next request's
            if self._run_room:
                self._end_run()  # a task that outlives the application sends in vain, and is told so
            if self._supervision is not None:
                self._supervision.end()
                self._supervision = None
            if ctx.access_log is not None:
                self._log_access(ctx.access_log)
        if self.response.state != COMPLETE or not self.response.keep_alive or connection.refusal is not None:
            return False
        return self._codec.body_complete or await self._skip_unread_body()

    def _new_scope(self) -> Scope:
        return self.connection.scopes.http(self.head)

    def _begin_supervision(self, extensions: dict[str, Any]) -> None:
        self._supervision = Supervision(self)
        if self.connection.ctx.timeouts.request is not None:
            extensions["trioserve.timeout_request"] = {"restart": self._supervision.restart_timeout}

    def log_refusal(self) -> None:
        """The connection answers in the place of the application, which was never called."""
        if self.connection.ctx.access_log is not None:
            self._log_access(self.connection.ctx.access_log)

    def _log_access(self, access_log: "AccessLog") -> None:
        refusal = self.connection.refusal
        if refusal is not None and self.unanswered and self.head.method != "HEAD":
            self.response.body_bytes = len(error_body(refusal.reason))  # the connection will send it
        access_log(self, time.perf_counter() - self.started)

    def on_suspend(self) -> None:
        """The application waits: send what it has produced."""
        self._app_runs = False
        self._hand_over()

    def on_resume(self) -> None:
        """The application goes on."""
        self._app_runs = True

    def _on_app_error(self, exc: BaseException) -> None:
        error = without_disconnects(exc)
        if error is None or (self._is_over and follows_disconnect(error)):
            return
        log.error("Exception in the application, serving %s", self.request_line, exc_info=error, extra=self._log_extra)
        hint = backend_hint(error, self.connection.ctx.backend)
        if hint is not None:
            log.error(hint)
        self._give_up()

    async def _on_incomplete_response(self) -> None:
        if self._pieces or self._run:
            await self.flush()
        if not self._told_to_stop and not self._stream.lost and self.connection.refusal is None:
            what = "without a response" if self.unanswered else "before its response was complete"
            log.error("The application returned %s, serving %s", what, self.request_line, extra=self._log_extra)
            self._give_up()

    def _give_up(self) -> None:
        """Answer 500 when that is still possible; and who has got everything may keep it."""
        if self.connection.refusal is not None:
            return
        if self.response.state <= FIRST_BODY:
            self.connection.refusal = PeerError(500, "Internal Server Error")
        else:
            self._end_run()
            if self.response.end_if_whole():
                self._hand_over()

    # What the application calls.

    async def receive(self) -> Message:
        """ASGI ``receive``. An event that is already there is returned without a checkpoint."""
        while not self._body_given:
            if (event := self._next_request_event()) is not None:
                return event
            if not await self._receive_body():
                break
        if self.response.state != COMPLETE and self.connection.refusal is None and not self._stream.is_disconnected():
            await self._wait_for_end()
        self._told_to_stop = True
        return {"type": "http.disconnect"}

    def _next_request_event(self) -> Message | None:
        """What is there of the body; ``None`` when more must be received first, or will never be."""
        codec = self._codec
        try:
            body = codec.take_body()
        except PeerError as exc:
            self.refuse(exc)
            return None
        if not body and not codec.body_complete:
            return None
        self._body_given = codec.body_complete
        return {"type": "http.request", "body": body, "more_body": not codec.body_complete}

    async def send(self, message: Message) -> None:
        """ASGI ``send``. Raises ClientDisconnected once the client has gone, AppError for a wrong message."""
        if self._run_room > 0:  # then a body part needs no other check; saves two thirds of its cost
            try:
                data = message["body"]
                if message["more_body"] and type(data) is bytes and message["type"] == "http.response.body":
                    room = self._run_room - len(data) - MESSAGE_COST
                    if room > 0:
                        self._run_room = room
                        self._run.append(data)
                        return
            except (KeyError, TypeError):
                pass  # less usual, or wrong
            self._end_run()
        stream, response, pieces = self._stream, self.response, self._pieces
        if stream.lost or self.connection.refusal is not None:
            raise ClientDisconnected("the client has gone")
        if response.state <= FIRST_BODY and not self._codec.body_complete:
            self._consider_unread_body()
        response.encode(message, pieces)
        if response.state == COMPLETE and pieces:  # now, not when the application ends: it may have other work to do
            if response.work < GATHER_BYTES and not self._counted:
                stream.send_nowait(b"".join(pieces))
                pieces.clear()
            else:
                self._hand_over()
            if self._end_waits is not None:
                self._end_waiting_receives()
            if stream.congested:
                await self.flush()
            return
        if response.work >= self._flush_at:
            self._flush_at = response.work + RUN_BYTES
            await self.flush()
            if response.work >= self._give_way_at:
                await self._give_way()
        elif pieces and not self._app_runs:
            await self.flush()  # a task of the application's own sends, whose suspensions nobody sees
        if response.state == BODY and self._app_runs:
            self._begin_run()

    # Moving bytes.

    def _begin_run(self) -> None:
        """From now on body parts collect, unless something else happens."""
        self._run_began_with = self._run_room = self.response.run_room()
        if not self._run:
            self._run = []

    def _end_run(self) -> None:
        run = self._run
        if run:
            size = self._run_began_with - self._run_room - MESSAGE_COST * len(run)
            self._count()
            self._counted_bytes += self.response.encode_run(run, size, self._pieces)
            self._counted = len(self._pieces)
            run.clear()
        self._run_room = 0

    def _count(self) -> None:
        """Count the bytes of those pieces that nobody has counted; they are few."""
        self._counted_bytes += sum(map(len, self._pieces[self._counted :]))
        self._counted = len(self._pieces)

    def _hand_over(self) -> None:
        self._end_run()
        if self._pieces:
            self._count()
            pieces, size = self._pieces, self._counted_bytes
            self._pieces, self._counted, self._counted_bytes = [], 0, 0
            self._stream.send_pieces_nowait(pieces, size)

    async def flush(self) -> None:
        """Send what has collected, and wait while the client is slow."""
        self._hand_over()
        stream = self._stream
        if stream.congested:
            timeout = self.connection.ctx.timeouts.write
            if not self._drain_waits:
                self._untaken_seen = stream.untaken()
                timeout.arm(self)
            self._drain_waits += 1
            try:
                await stream.drain()
            finally:
                self._drain_waits -= 1
                if not self._drain_waits:
                    timeout.disarm(self)
        if stream.lost:
            raise ClientDisconnected("the client has gone")

    async def _give_way(self) -> None:
        """Let others run: much was moved without waiting for anything."""
        self._give_way_at = self.response.work + GIVE_WAY_BYTES
        await anyio.lowlevel.checkpoint()

    def on_write_timeout(self) -> None:
        """Nothing was taken for a whole ``timeout_write``; if something was, wait for more."""
        untaken = self._stream.untaken()
        if untaken < self._untaken_seen:
            self._untaken_seen = untaken
            self.connection.ctx.timeouts.write.arm(self)
        else:
            self.log_end("write-timeout")
            self._stream.abort()  # wakes the waiting send(), which raises ClientDisconnected

    async def _receive_body(self) -> bool:
        """Get more of the request body; false when there will be none."""
        if self.connection.refusal is not None:
            return False
        if self._receiver is None:
            if self._awaits_continue and self.unanswered:
                self._pieces.append(_CONTINUE)
                self._hand_over()
            self._receiver = BodyReceiver(self.connection)
        return await self._receiver.receive_more()

    @property
    def _awaits_continue(self) -> bool:
        """The client keeps the body back until it is told that somebody wants it (RFC 9110 §10.1.1)."""
        return self._receiver is None and self.head.meaning.expects_continue

    async def _wait_for_end(self) -> None:
        """Until the response is complete or the client gone."""
        if self._end_waits is None:
            self._end_waits = []
        with anyio.CancelScope() as wait:
            self._end_waits.append(wait)
            try:
                await self._stream.wait_disconnected()
            finally:
                self._end_waits.remove(wait)

    def _end_waiting_receives(self) -> None:
        for wait in self._end_waits or ():
            wait.cancel()

    async def stop_receiving(self) -> None:
        """From now on the stream is the connection's alone."""
        if self._receiver is not None:
            await self._receiver.stop()

    # What ends an exchange before its time.

    def refuse(self, error: PeerError) -> None:
        """The request cannot be completed: the application sees a disconnect, the client gets ``error``."""
        self.connection.refusal = error
        self._end_run()
        if self._receiver is not None:
            self._receiver.stop_waiting()
        self._end_waiting_receives()

    def log_end(self, reason: str) -> None:
        """One line for whoever asks why: the reason, the request, its age and where it stood."""
        self.end_reason = reason
        where = await_point(self._coro) if self._coro is not None else "its start"
        age = time.perf_counter() - self.started
        log.warning("%s: ended %s after %.1f s, waiting at %s", reason, self.request_line, age, where,
                    extra=self._log_extra)

    def leave_turnstile(self) -> None:
        """Give the slot back; the request does not count any longer."""
        turnstile, self.turnstile = self.turnstile, None
        if turnstile is not None:
            turnstile.leave()

    def drain(self) -> None:
        """The server stops: this is the connection's last request, and nobody needs what is left of its body."""
        self.response.keep_alive = False
        if self.skips_body and self._receiver is not None:
            self._receiver.stop_waiting()

    # What the connection asks.

    @property
    def request_line(self) -> str:
        return f"{self.head.method} {self.head.target.decode('latin-1')}"

    def request_id(self) -> str | None:
        """The name of this request, found or made when it is first asked for; ``None`` when requests have none."""
        ids = self.connection.ctx.request_ids
        if self._request_id is None and ids is not None:
            self._request_id = ids.name(self._stream.peer, self._stream.local, self.head.headers)
        return self._request_id

    @property
    def _log_extra(self) -> dict[str, str] | None:
        """For each line about this request."""
        request_id = self.request_id()
        return {"request_id": request_id} if request_id is not None else None

    @property
    def client(self) -> Address | None:
        """Who asks, as the application sees it in the scope."""
        return self.connection.scopes.client(self.head)

    @property
    def final_status(self) -> int:
        """What the client gets to see; 0 when it left before it got anything."""
        if not self.unanswered:
            return self.response.status
        return self.connection.refusal.status if self.connection.refusal is not None else 0

    @property
    def _is_over(self) -> bool:
        """The client has left, so sending was bound to fail."""
        return self._stream.lost

    @property
    def complete(self) -> bool:
        return self.response.state == COMPLETE

    @property
    def unanswered(self) -> bool:
        """Nothing of a final response has been sent, so there is room for another one."""
        return self.response.state <= FIRST_BODY

    def _consider_unread_body(self) -> None:
        """What is left of the request body may make the connection unfit for another request; then say so."""
        remaining = self._codec.body_remaining
        if self._awaits_continue or (remaining is not None and remaining > SKIP_BYTES):
            self.response.keep_alive = False

    async def _skip_unread_body(self) -> bool:
        """Read past what the application left of the request body; false when that is too much (RFC 9112 §9.3)."""
        skipped = 0
        self.skips_body = True
        self.leave_turnstile()  # the application is through, and the client may take its time
        while True:
            try:
                skipped += len(self._codec.take_body())
            except PeerError:
                return False
            if self._codec.body_complete:
                return True
            if self._awaits_continue or skipped > SKIP_BYTES or not await self._receive_body():
                return False
