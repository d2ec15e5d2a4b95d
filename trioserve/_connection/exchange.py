"""One HTTP request with its response: what the application calls, whatever the version of HTTP.

The rules live in pure objects, the inlet and the response. The methods here move messages, and know what the
application has been told.
"""

from logging import ERROR
from typing import Final

import anyio

from trioserve._asgi import BODY, COMPLETE, FIRST_BODY, START, FileMessage
from trioserve._connection.answer import Answer, ResponseT
from trioserve._connection.channel import Inlet, Outlet, Owner
from trioserve._connection.event_streams import is_endless
from trioserve._connection.file_sending import send_file
from trioserve._connection.parts import Parts
from trioserve._connection.request import Request
from trioserve._connection.running import run_app
from trioserve._errors import ClientDisconnected, PeerError
from trioserve._hints import FILE_HINT
from trioserve._protocol import RequestHead
from trioserve._streams import GATHER_BYTES
from trioserve._types import Message, Scope

__all__ = ["Exchange"]

NOTHING, SOME, ALL = range(3)  # of the request's body has been given to the application
LISTENER_SECONDS: Final = 0.5  # for whoever hears in receive() that the client has left, to cancel who sends
NOBODY, SOMEBODY, HAD_ITS_TIME = range(-3, 0)  # no ids of tasks


class Exchange(Answer[ResponseT]):
    """Runs the application for one request."""

    __slots__ = ("_body_given", "_inlet", "_listener", "_outlet", "_owner", "_parts")

    def __init__(self, head: RequestHead, response: ResponseT, outlet: Outlet, inlet: Inlet, owner: Owner) -> None:
        Answer.__init__(self, Request(head, outlet, owner), response)  # super() costs 0.1 us
        self._outlet = outlet
        self._inlet = inlet
        self._owner = owner
        self._parts: Parts | None = None  # once the response is known to have several
        self._body_given = NOTHING
        self._listener = NOBODY  # waits in receive() to hear that the client has left; once told, the id of its task

    # Running the application.

    run = run_app  # as a method of ours: see the application's response through

    def new_scope(self) -> Scope:
        owner = self._owner
        ctx = owner.ctx
        scope = owner.scopes.http(self.request.head)
        self._extend(scope["extensions"], ctx)
        if ctx.supervises:
            self._supervise_from_the_beginning(scope)
        return scope

    def on_suspend(self) -> None:
        """The application waits: what it has produced leaves, and it may be its last word."""
        self.request.app_runs = False
        if self.answered:
            self._wait_after_answer()
        elif self.response.state != START:
            if self._parts is not None:
                self._parts.on_suspend()
            supervision = self._supervision
            if (supervision is None or not supervision.watches) and self._owner.ctx.on_disconnect == "auto":
                self._supervise().watch_soon()  # the client of a long response may leave meanwhile

    def on_resume(self) -> None:
        """The application goes on."""
        self.request.app_runs = True

    @property
    def client_left(self) -> bool:
        """So sending was bound to fail."""
        return self._outlet.lost or self._stopped

    async def on_return(self) -> None:
        """The application has returned before its response was finished."""
        if self._parts is not None:
            self._parts.let_go()
            if self._outlet.congested:
                await self._outlet.drain()
        if not self.client_left:
            what = "without a response" if self.unanswered else "before its response was complete"
            self.request.say(ERROR, "The application returned %s, serving %s", what, self.request.line)
            if self.unanswered and self._owner.ctx.sends_files:
                self.request.say(ERROR, FILE_HINT)
            self.give_up()

    def give_up(self) -> None:
        """The application failed. The owner answers 500, if that is still possible; who has got all may keep it."""
        if self.refusal is None and self.unanswered:
            self.refuse(PeerError(500, "Internal Server Error"))
        elif self._parts is not None:
            self._parts.end_run()
            self.response.end_if_whole()

    def end(self) -> None:
        """The application has ended. A task that outlives it is told that the client has gone."""
        if self._parts is not None:
            self._parts.let_go()
            self._parts = None
        if not self.answered:
            self.finish()
        self._stopped = True
        self._listener = HAD_ITS_TIME  # a task that outlives the application is not held up

    # What the application calls.

    async def receive(self) -> Message:
        """ASGI ``receive``. An event that is already there is returned without a checkpoint."""
        inlet = self._inlet
        try:
            while self._body_given != ALL and self.response.state != COMPLETE and not self._stopped:
                if self._body_given == SOME:
                    await inlet.give_way()
                body = inlet.take_body()
                is_last = inlet.body_complete
                if body or is_last:
                    self._body_given = ALL if is_last else SOME
                    return {"type": "http.request", "body": body, "more_body": not is_last}
                if not await inlet.receive_more(may_ask=self.unanswered):
                    break
        except PeerError as exc:
            self.refuse(exc)
        if not self._stopped and self.response.state != COMPLETE:
            if not self._outlet.is_disconnected() and not self._ends_with_server:
                self._listener = SOMEBODY
                try:
                    await self._wait_for_end()
                except BaseException:  # cancelled
                    self._listener = NOBODY
                    raise
            if self.response.state != COMPLETE:
                self._stopped = True
                if self._listener != HAD_ITS_TIME:
                    self._listener = anyio.get_current_task().id
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """ASGI ``send``. Raises ClientDisconnected once the client has gone, AppError for a wrong message."""
        parts = self._parts
        if parts is not None and parts.room > 0 and parts.takes(message):
            return
        outlet, response = self._outlet, self.response
        try:
            if outlet.lost or self._stopped:
                raise ClientDisconnected("the client has gone")
            if self._body_given != ALL and response.state == FIRST_BODY and not self._inlet.body_complete:
                self._note_early_answer(message)
            pieces: list[bytes] = [] if parts is None else parts.pieces
            if (file := response.encode(message, pieces)) is not None:
                await self._send_file(file)
            elif response.state == COMPLETE:  # it leaves now: the application may go on with other work
                if self.answered:
                    return  # what comes after the end is ignored
                if self._body_given != ALL and not self._inlet.body_complete:
                    self._inlet.stop_waiting()  # what is left of the body is nobody's any more
                if parts is not None:
                    parts.hand_over()
                elif response.work < GATHER_BYTES:
                    outlet.send_nowait(b"".join(pieces))
                else:
                    outlet.send_pieces_nowait(pieces, sum(map(len, pieces)))
                if outlet.congested:
                    await outlet.drain()
                if not self.answered:
                    self.finish()
            elif parts is not None or response.state > FIRST_BODY:
                parts = self._let_part_go(parts, pieces)
                if outlet.congested:
                    await outlet.drain()
                if parts.turn.is_over():
                    await parts.turn.give_way()
                if self.request.app_runs and response.state == BODY:
                    parts.begin_run()
            elif pieces:  # a hint
                outlet.send_nowait(b"".join(pieces))
                outlet.uncork()
        except ClientDisconnected:
            self._stopped = True
            await self._let_listener_act()
            raise

    async def _let_listener_act(self) -> None:
        """Another task hears in ``receive()`` that the client has left. It may cancel the one that sends.

        Django does, and it closes the response, with its files, only if that one does not raise before.
        """
        if self._listener != HAD_ITS_TIME and self.refusal is None:
            listens = bool(self._end_waits) or self._listener not in (NOBODY, anyio.get_current_task().id)
            self._listener = HAD_ITS_TIME
            if listens:
                await anyio.sleep(LISTENER_SECONDS)

    def _note_early_answer(self, message: Message) -> None:
        """The head says whether the connection persists. A success in parts may be an answer to what still comes."""
        try:
            has_more = bool(message["more_body"])
        except (KeyError, TypeError):
            has_more = False
        self._owner.on_early_answer(reads_on=has_more and self.response.status < 400)

    def _let_part_go(self, parts: Parts | None, pieces: list[bytes]) -> Parts:
        """A part of the body leaves before ``send`` returns, and those that follow it at once may collect."""
        if parts is None:
            self._parts = parts = Parts(self._outlet, self.response, pieces)
        parts.let_go()
        if self._owner.ctx.lifetime.draining:
            self.drain()
        return parts

    async def _send_file(self, message: FileMessage) -> None:
        """The extensions "Path Send" and "Zero Copy Send"."""
        if self._parts is not None:
            self._parts.hand_over()  # what was sent before the file
        await send_file(message, self.response, self._outlet, self.send)

    def refuse(self, error: PeerError) -> None:
        super().refuse(error)
        self._inlet.stop_waiting()

    @property
    def request_body_bytes(self) -> int:
        return self._inlet.received_bytes(self.request.head.meaning.content_length) or 0

    # The end of the server.

    def drain(self) -> None:
        """The server stops: the request gets its answer. If that is endless, it is as if the client had left."""
        if self._ends_with_server:
            self._end_waiting_receives()
            self._supervise().end_endless()

    @property
    def _ends_with_server(self) -> bool:
        ctx = self._owner.ctx
        return ctx.lifetime.draining and is_endless(self.request.head.method, self.response, ctx.ended_streams)

    def _traffic(self) -> tuple[int, int] | None:
        """Of the two bodies. Once it is answered, the inlet may be the next request's."""
        length = self.request.head.meaning.content_length
        received = self._inlet.received_bytes(length) if self.in_progress else length
        return None if received is None else (received, self.response.body_bytes)
