"""One WebSocket: a handshake that, once accepted, turns into messages in both directions (RFC 6455).

The application runs in the task that holds the connection and its ``receive`` reads from the socket itself, as with
HTTP: an echoed message costs no task, lock, queue or timer. The protocol has two voices nevertheless. Keep-alive pings
come from a queue that all connections share, and while an application does not receive, a task reads in its place.
"""

from collections.abc import Callable
from logging import ERROR
from typing import Final, Literal

import anyio.lowlevel

from trioserve._asgi import COMPLETE, MESSAGE_COST, RUN_BYTES
from trioserve._asgi.websocket import CLOSED, CONNECTING, OPEN, WebSocketSession
from trioserve._connection.answer import Answer, ResponseT
from trioserve._connection.channel import Tunnel, TunnelOwner
from trioserve._connection.look import RequestLook
from trioserve._connection.pace import Pace
from trioserve._connection.records import MessageCounts
from trioserve._connection.request import Request
from trioserve._connection.running import run_app
from trioserve._connection.websocket.ahead import ReadAhead
from trioserve._connection.websocket.frames import FAILED, FrameStream
from trioserve._connection.websocket_limits import WebSocketLimits
from trioserve._errors import ClientDisconnected, PeerError
from trioserve._protocol import RequestHead
from trioserve._protocol.websocket.codec import ABNORMAL
from trioserve._protocol.websocket.handshake import read_handshake
from trioserve._types import Message, Scope

__all__ = ["WebSocket"]

NORMAL: Final = 1000  # close codes (RFC 6455 §7.4.1, IANA's registry)
GOING_AWAY: Final = 1001
RESTART: Final = 1012


class WebSocket(Answer[ResponseT]):
    """Runs the application for one handshake, and for what follows when it has been accepted.

    Attributes:
        session: how it stands, once the handshake has been found in order.
    """

    __slots__ = (
        "_ahead", "_connect_given", "_frames", "_has_ended", "_limits", "_owner", "_pace", "_sent_in_a_row", "_stream",
        "session",
    )  # fmt: skip

    session: WebSocketSession

    def __init__(
        self, head: RequestHead, response: ResponseT, stream: Tunnel, owner: TunnelOwner,
        limits: WebSocketLimits,
    ) -> None:  # fmt: skip
        super().__init__(Request(head, stream, owner), response)
        self._stream = stream
        self._owner = owner
        self._limits = limits
        self._pace = Pace()
        self._frames: FrameStream | None = None  # once the handshake has been accepted
        self._ahead: ReadAhead | None = None  # likewise
        self._connect_given = False
        self._sent_in_a_row = 0  # bytes, since the application last waited
        self._has_ended = False

    # Running the application.

    async def run(self) -> None:
        """Answer the handshake as the application says, and see the WebSocket through to its end."""
        try:
            handshake = read_handshake(self.request.head, deflate=self._limits.deflate)
        except PeerError as exc:
            self.refuse(exc)
            self.finish()
            return
        self.session = WebSocketSession(handshake, self.response, self._limits.max_size)
        try:
            await run_app(self)
            if self._frames is not None:
                if self.session.state == OPEN:
                    self._frames.close(NORMAL, "")
                await self._frames.finish()
        finally:
            if self._frames is not None:
                self._leave(self._frames)

    def new_scope(self) -> Scope:
        scope = self._owner.scopes.websocket(self.request.head, self.session.subprotocols)
        self._extend(scope["extensions"], self._owner.ctx)
        if self._owner.ctx.supervises:
            self._supervise_from_the_beginning(scope)
        return scope

    def on_suspend(self) -> None:
        """The application waits: send what it has produced, and if it does not receive, let somebody else."""
        self.request.app_runs = False
        if self._frames is not None and self._ahead is not None:
            self._sent_in_a_row = 0
            self._pace.rest()
            self._frames.hand_over()
            if not self._ahead.receiving:
                self._ahead.watch_soon()
        elif self.answered:
            self._wait_after_answer()

    def on_resume(self) -> None:
        """The application goes on."""
        self.request.app_runs = True

    @property
    def client_left(self) -> bool:
        """So sending was bound to fail."""
        return self._stopped or self._stream.lost or self.session.state == CLOSED

    async def on_return(self) -> None:
        """The application has returned before the handshake had its answer."""
        if self._stopped or self._stream.lost:
            return
        if self.session.state == CONNECTING:
            pieces: list[bytes] = []
            self.session.refuse(pieces)
            self._stream.send_nowait(b"".join(pieces))
        else:
            self.request.say(
                ERROR, "The application returned before its response was complete, serving %s", self.request.line)
            self.give_up()

    def give_up(self) -> None:
        """The application failed: 500, or once the handshake is over 1011."""
        if self._frames is not None:
            if self.session.state == OPEN:
                self._frames.close(FAILED, "")
        elif self.refusal is None and self.unanswered:
            self.refuse(PeerError(500, "Internal Server Error"))
        else:
            self.response.end_if_whole()

    def end(self) -> None:
        """The application has ended. The WebSocket may still have to be closed."""
        self._connect_given = True
        if not self.answered:
            self.finish()

    # What the application calls.

    async def receive(self) -> Message:
        """ASGI ``receive``. A message that is already there is returned without a checkpoint."""
        if not self._connect_given:
            self._connect_given = True
            return {"type": "websocket.connect"}
        if self._frames is None and (end := await self._wait_before_accept()) is not None:
            return end
        frames, ahead = self._frames, self._ahead
        assert frames is not None and ahead is not None, "accepted, perhaps meanwhile by another task"
        data = ahead.take()
        ahead.receiving += 1
        try:
            if data is None:
                data = await frames.next_message()
        finally:
            ahead.receiving -= 1
            if not self.request.app_runs:
                ahead.watch_soon()  # a task of the application's own receives, whose suspensions nobody sees
        if data is None:
            return self.session.disconnect()
        return {"type": "websocket.receive", "text" if type(data) is str else "bytes": data}

    async def _wait_before_accept(self) -> Message | None:
        """The end of the handshake; ``None`` when it has been accepted meanwhile."""
        if not self.client_left and not self._stream.is_disconnected():
            await self._wait_for_end()
        if self._frames is not None:
            return None
        self._stopped = True
        self.session.end(ABNORMAL, "")
        return self.session.disconnect()

    async def send(self, message: Message) -> None:
        """ASGI ``send``. Raises ClientDisconnected once the WebSocket is closed, AppError for a wrong message."""
        session, frames = self.session, self._frames
        if self.client_left:
            raise ClientDisconnected("the WebSocket is closed")
        if frames is None:
            await self._answer(message)
            return
        pieces = frames.pieces
        session.encode(message, pieces)
        if session.state != OPEN:
            frames.on_closed()
            return
        self._sent_in_a_row += len(pieces[-1]) + MESSAGE_COST
        if self._sent_in_a_row >= RUN_BYTES:
            self._sent_in_a_row = 0
            await frames.flush()
            await anyio.lowlevel.checkpoint()
        elif self._stream.congested or not self.request.app_runs:
            await frames.flush()
        elif not self._pace.may_wait():
            frames.hand_over()
            self._pace.has_left()

    async def _answer(self, message: Message) -> None:
        """The application accepts the handshake, or has another response for it."""
        pieces: list[bytes] = []
        self.session.encode(message, pieces)
        if pieces:
            self._stream.send_nowait(b"".join(pieces))  # the client waits for it
        if self.session.state == OPEN:
            self._begin()
        elif self.response.state == COMPLETE:
            self.finish()
        if self._stream.congested:
            await self._stream.drain()

    # The life of an accepted WebSocket.

    def _begin(self) -> None:
        """The handshake is over: from now on frames come, and no request is in progress any more."""
        session, ctx = self.session, self._owner.ctx
        assert session.codec is not None, "accepted"
        session.codec.receive_data(self._owner.open_tunnel())
        self._frames = FrameStream(
            self._stream, session.codec, session, self._limits, write_timeout=ctx.timeouts.write.strikes)
        self._ahead = ReadAhead(self._frames, session, self._limits, self._owner)
        self.finish()
        if not self.request.app_runs:
            self._ahead.watch_soon()
        if ctx.lifetime.draining:
            self.drain()
        else:
            self._frames.begin()
            self._limits.age.arm(self)

    def on_timeout(self, kind: str) -> None:
        """It has been open for as long as a WebSocket may be."""
        if self._frames is not None and self.session.state == OPEN:
            self.request.end_reason = "max-age"
            self._limits.strike("ws_max_age")
            self._frames.close(GOING_AWAY, "open for long enough")

    def drain(self) -> None:
        """The server stops."""
        if self._frames is not None and self.session.state == OPEN:
            self._frames.close(RESTART, "the server is stopping")

    def _break_off(self, refusal: PeerError, reason: str) -> None:
        """The same once it has been accepted; then the client gets a close frame."""
        if self._frames is not None and self.session.state == OPEN:
            self._frames.close(GOING_AWAY, "")
        super()._break_off(refusal, reason)

    def _leave(self, frames: FrameStream) -> None:
        """Leave nothing behind."""
        self._end_supervision()
        self._limits.age.disarm(self)
        frames.end()
        if self._ahead is not None:
            self._ahead.end()
        request = self.request
        request.end_reason = request.end_reason or frames.end_reason
        self._has_ended = True
        recorder = self._owner.ctx.recorder
        if recorder is not None:
            try:
                recorder.websocket_closed(self, request.age)
            except Exception as exc:
                request.say_unrecorded(exc)

    # What the owner asks.

    @property
    def in_progress(self) -> bool:
        return not self.answered or (self._frames is not None and not self._has_ended)

    @property
    def is_open(self) -> bool:
        """The handshake has been accepted."""
        return self._frames is not None

    @property
    def complete(self) -> bool:
        """The handshake has been refused, or the closing handshake is over (RFC 6455 §7.1.4).

        It is over, too, when the client has ended the stream without a close frame: nothing is missing that it could
        still be told, and what it was told before has to arrive.
        """
        frames = self._frames
        return super().complete and (frames is None or frames.codec.closed or frames.has_ended)

    @property
    def cut_is_visible(self) -> bool:
        """Once accepted, the end of the stream without a close frame is no end (RFC 6455 §7.1.5)."""
        return self._frames is None and super().cut_is_visible

    # What whoever looks at the tree, or counts, asks.

    @property
    def messages(self) -> MessageCounts | None:
        return self._frames.codec if self._frames is not None else None

    def look(
        self, kind: Literal["request", "stream"], detail: str = "", cancel: Callable[[str], None] | None = None
    ) -> RequestLook:
        state = "handshake" if self._frames is None else "open" if self.session.state == OPEN else "closing"
        shown = super().look(kind, ", ".join(filter(None, (detail, state))), cancel)
        return shown._replace(kind="websocket")

    def _traffic(self) -> tuple[int, int]:
        """Of the payloads of messages."""
        codec = self._frames.codec if self._frames is not None else None
        return (codec.received_bytes, codec.sent_bytes) if codec is not None else (0, 0)
