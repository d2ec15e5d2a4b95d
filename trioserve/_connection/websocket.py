"""One WebSocket: a handshake that, once accepted, turns into messages in both directions (RFC 6455).

The application runs in the connection's own task and its ``receive`` reads from the socket itself, as with HTTP: an
echoed message costs no task, lock, queue or timer. The protocol has two voices nevertheless. Keep-alive pings come
from a queue that all connections share, and while an application does not receive, a task reads in its place, so
that pings are answered and a close is noticed; what it reads ahead is bounded.
"""

import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.lowlevel

from trioserve._asgi.http import MESSAGE_COST, RUN_BYTES
from trioserve._asgi.websocket import CLOSED, CONNECTING, OPEN, WebSocketSession
from trioserve._connection.exchange import Exchange
from trioserve._connection.one_reader import OneReader
from trioserve._errors import ClientDisconnected, PeerError
from trioserve._protocol import RequestHead
from trioserve._protocol.handshake import read_handshake
from trioserve._protocol.websocket import ABNORMAL, Close, Ping, WebSocketCodec
from trioserve._types import Message, Scope

if TYPE_CHECKING:
    from trioserve._connection.context import AccessLog
    from trioserve._connection.http1 import Http1Connection
    from trioserve._connection.websocket_service import WebSocketService

__all__ = ["WebSocket"]

log = logging.getLogger("trioserve")

RECEIVE_BYTES: Final = 64 * 1024  # per syscall; also the most that one turn of an application can find
READ_AHEAD_BYTES: Final = 64 * 1024  # of messages, for an application that does not receive; or a single larger one
GIVE_WAY_BYTES: Final = 256 * 1024  # received without a pause before others get a turn

NORMAL, FAILED, RESTART = 1000, 1011, 1012  # close codes (RFC 6455 §7.4.1, IANA's registry)


class WebSocket(Exchange):
    """An exchange whose response may be the switch to another protocol; until then it is one like all others."""

    # Defaults of the class, not of each instance: most WebSockets never touch these.
    _parked_bytes = 0  # of messages that were read ahead
    _sent_in_a_row = 0  # bytes, since the application last waited
    _received_in_a_row = 0
    _receiving = 0  # calls of receive() in progress
    _watch_armed = False
    _reader: anyio.CancelScope | None = None  # of the task that reads ahead
    _heard = False  # something arrived since the last ping
    _awaits_pong = False
    _untaken_at_ping = 0  # bytes
    _failed = False  # the client broke the protocol and was told so
    _ended = False  # nothing will arrive any more

    def __init__(self, connection: "Http1Connection", head: RequestHead, service: "WebSocketService") -> None:
        super().__init__(connection, head)
        self._service = service
        self._session: WebSocketSession
        self._frames: WebSocketCodec | None = None  # once the handshake has been accepted
        self._stream_reader = OneReader()
        self._parked: deque[str | bytes] | None = None

    # Running the application.

    async def run(self) -> bool:
        """Answer the handshake as the application says, and see the WebSocket through to its end."""
        try:
            handshake = read_handshake(self.head, deflate=self._service.deflate)
        except PeerError as exc:
            self.refuse(exc)
            self.log_refusal()
            return False
        self._session = WebSocketSession(handshake, self.response, self._service.max_size)
        try:
            await super().run()
            if self._frames is not None:
                await self._finish(self._frames)
        finally:
            if self._frames is not None:
                self._end()
        return False

    def _new_scope(self) -> Scope:
        return self.connection.scopes.websocket(self.head, self._session.subprotocols)

    def on_suspend(self) -> None:
        """The application waits: send what it has produced, and if it does not receive, let somebody else."""
        self._app_runs = False
        self._sent_in_a_row = 0
        if self._pieces:
            self._hand_over()
        if not self._receiving and not self._watch_armed and self._frames is not None:
            self._watch_soon()

    async def _on_incomplete_response(self) -> None:
        if self._session.state != CONNECTING:
            await super()._on_incomplete_response()
        elif not self._told_to_stop and not self._stream.lost:
            self._session.refuse(self._pieces)
            self._hand_over()

    def _give_up(self) -> None:
        """The application failed: 500, or once the handshake is over 1011."""
        if self._frames is None:
            super()._give_up()
        elif self._session.state == OPEN:
            self._close(FAILED, "")

    @property
    def _is_over(self) -> bool:
        return self._session.state == CLOSED or self._stream.lost

    # What the application calls.

    async def receive(self) -> Message:
        """ASGI ``receive``. A message that is already there is returned without a checkpoint."""
        frames = self._frames
        if frames is None:
            if (early := await self._receive_before_accept()) is not None:
                return early
            assert self._frames is not None, "accepted meanwhile, by another task"
            frames = self._frames
        if self._parked:
            return self._unpark(self._parked)
        session = self._session
        message: Message | None = None
        self._receiving += 1
        try:
            while message is None and session.state == OPEN:
                event = frames.next_event()
                if type(event) is str:
                    message = {"type": "websocket.receive", "text": event}
                elif type(event) is bytes:
                    message = {"type": "websocket.receive", "bytes": event}
                elif event is None:
                    await self._read(frames)
                else:
                    self._on_event(event)
        finally:
            self._receiving -= 1
            if not self._app_runs:
                self._watch_soon()  # a task of the application's own receives, whose suspensions nobody sees
        if message is None:
            self._told_to_stop = True
            message = session.disconnect()
        return message

    async def _receive_before_accept(self) -> Message | None:
        """``websocket.connect``, later the end of it; ``None`` when the handshake has been accepted meanwhile."""
        if not self._body_given:
            self._body_given = True
            return {"type": "websocket.connect"}
        if self._session.state != CLOSED and not self._stream.is_disconnected():
            await self._wait_for_end()
        if self._frames is not None:
            return None
        self._session.end(ABNORMAL, "")
        self._told_to_stop = True
        return self._session.disconnect()

    async def send(self, message: Message) -> None:
        """ASGI ``send``. Raises ClientDisconnected once the WebSocket is closed, AppError for a wrong message."""
        stream, session, pieces = self._stream, self._session, self._pieces
        before = session.state
        if stream.lost or before == CLOSED:
            raise ClientDisconnected("the WebSocket is closed")
        session.encode(message, pieces)
        if session.state != before:
            self._on_change(before)
        self._sent_in_a_row += MESSAGE_COST + (len(pieces[-1]) if pieces else 0)
        if self._sent_in_a_row >= RUN_BYTES:
            self._sent_in_a_row = 0
            await self.flush()
            await anyio.lowlevel.checkpoint()
        elif stream.congested or not self._app_runs or before != OPEN:
            await self.flush()

    def _on_change(self, before: int) -> None:
        """The application answered the handshake, or closed."""
        if self._pieces:
            self._hand_over()  # the client waits for it
        if before == OPEN:
            self._stop_pings()
            self._service.close.arm(self)
        elif self._session.state == OPEN:
            self._begin()
            self._end_waiting_receives()
        elif self._session.state == CLOSED:
            self._end_waiting_receives()

    # The life of an accepted WebSocket.

    def _begin(self) -> None:
        """The handshake is over: from now on frames come, and no request is in progress any more."""
        ctx = self.connection.ctx
        self._frames = self._session.codec
        assert self._frames is not None, "accepted"
        self._frames.receive_data(self.connection.codec.switch_protocols())
        if ctx.access_log is not None:
            super()._log_access(ctx.access_log)
        if self._supervision is not None:
            self._supervision.end()
        self.leave_turnstile()
        if not self._app_runs:
            self._watch_soon()
        if ctx.lifetime.draining:
            self.drain()
        else:
            self._service.ping.arm(self)

    async def _finish(self, frames: WebSocketCodec) -> None:
        """The application has ended. Close, if nobody has, and wait for the client to agree."""
        if self._session.state == OPEN:
            self._close(NORMAL, "")
        while True:
            while frames.next_event() is not None:
                pass  # too late
            if self._ended or (frames.closed and not self._failed):
                break
            await self._read(frames)

    def _end(self) -> None:
        """Leave nothing behind."""
        self._session.end(ABNORMAL, "")
        self._stop_pings()
        self._service.close.disarm(self)
        self._service.watch.disarm(self)
        self._watch_armed = True  # never again, although a task that outlives the application may still receive
        if self._reader is not None:
            self._reader.cancel()
        if self.connection.ctx.access_log is not None:
            seconds = time.perf_counter() - self.started
            self.connection.ctx.access_log.websocket_closed(self, seconds)

    def _close(self, code: int, reason: str) -> None:
        """Tell the client that this is the end, and give it a moment to agree."""
        self._pieces.append(self._session.close(code, reason))
        self._on_change(OPEN)

    def drain(self) -> None:
        """The server stops."""
        if self._frames is not None and self._session.state == OPEN:
            self._close(RESTART, "the server is stopping")

    def on_close_timeout(self) -> None:
        """The client does not answer a close frame."""
        self.end_reason = "close-timeout"
        log.debug("close-timeout: closing the WebSocket of %s", self._stream.peer)
        self._stream.abort()  # wakes whoever reads

    # Reading.

    async def _read(self, frames: WebSocketCodec) -> None:
        """Wait until something has arrived, or until somebody else has read it; one task at a time reads."""
        if self._pieces and not self._app_runs:
            self._hand_over()
        reader = self._stream_reader
        if reader.busy:
            await reader.wait()
            return
        reader.busy = True
        try:
            if self._stream.congested:
                await self.flush()  # answers pile up: who does not read is not read
            data = await self._stream.receive_some(RECEIVE_BYTES)
        except ClientDisconnected:
            data = b""
        finally:
            reader.done()
        if not data:
            self._ended = True
            self._session.end(ABNORMAL, "")
            self._stop_pings()
            return
        self._heard = True
        frames.receive_data(data)
        self._received_in_a_row += len(data)
        if self._received_in_a_row >= GIVE_WAY_BYTES:
            self._received_in_a_row = 0
            await anyio.lowlevel.checkpoint()

    def _on_event(self, event: Any) -> None:
        """Answer what is not for the application."""
        assert self._frames is not None, "it was in a frame"
        if isinstance(event, Ping):
            self._pieces.append(self._frames.pong(event.payload))
        elif isinstance(event, Close):
            self._failed = event.failed
            if self._session.state == OPEN:
                self._pieces.append(self._session.close(event.code, event.reason))
                self._on_change(OPEN)
            if self._failed:
                self._send_eof()
            else:
                self._service.close.disarm(self)

    # Reading ahead.

    def _watch_soon(self) -> None:
        """Look after a while whether the application receives."""
        if not self._watch_armed:
            self._watch_armed = True
            self._service.watch.arm(self)

    def on_watch_due(self) -> None:
        """The application has not received for a while; if it still does not, somebody else has to."""
        assert self._frames is not None, "armed when there was something to read"
        if self._frames.closed:
            self._send_eof()  # and never look again
            return
        self._watch_armed = False
        if self._receiving or self._reader is not None or self._ended or self._parked_bytes >= READ_AHEAD_BYTES:
            return
        self._reader = anyio.CancelScope()
        self.connection.ctx.start_soon(self._read_ahead, self._reader)

    async def _read_ahead(self, cancel_scope: anyio.CancelScope) -> None:
        """Read as long as the application does not receive; what it will want is kept, within bounds."""
        frames = self._frames
        assert frames is not None, "there is something to read"
        with cancel_scope:
            try:
                while not self._receiving and not self._ended and self._parked_bytes < READ_AHEAD_BYTES:
                    event = frames.next_event()
                    if isinstance(event, str | bytes):
                        self._park(event)
                    elif event is not None:
                        self._on_event(event)
                    elif frames.closed:
                        self._send_eof()  # the client need not wait for what the application still does
                        break
                    else:
                        await self._read(frames)
                if self._pieces:
                    self._hand_over()
            except Exception:  # ours, then: it must end this connection only
                log.exception("Internal error on the WebSocket of %s", self._stream.peer)
                self._stream.abort()
        self._reader = None

    def _park(self, data: str | bytes) -> None:
        if self._session.state != OPEN:
            return
        if self._parked is None:
            self._parked = deque()
        self._parked.append(data)
        self._parked_bytes += len(data) + MESSAGE_COST

    def _unpark(self, parked: deque[str | bytes]) -> Message:
        data = parked.popleft()
        self._parked_bytes -= len(data) + MESSAGE_COST
        if not self._app_runs:
            self._watch_soon()
        return {"type": "websocket.receive", "text" if isinstance(data, str) else "bytes": data}

    # Keep-alive.

    def on_ping_due(self) -> None:
        """Ask for a sign of life, unless one is overdue already."""
        self._service.ping.arm(self)
        if self._awaits_pong and not self._heard:
            return
        assert self._frames is not None, "armed when it was accepted"
        self._service.pong.disarm(self)
        self._heard = False
        self._awaits_pong = True
        self._untaken_at_ping = self._stream.untaken()
        self._frames.rest()
        self._stream.send_nowait(self._frames.ping())
        self._service.pong.arm(self)

    def on_pong_timeout(self) -> None:
        """Nothing may have come since the ping; but not everybody who is alive could have answered."""
        self._awaits_pong = False
        if self._heard or self._is_taking or self._parked_bytes >= READ_AHEAD_BYTES:  # we have stopped reading then
            return
        self.end_reason = "ping-timeout"
        log.debug("ping-timeout: closing the WebSocket of %s", self._stream.peer)
        assert self._frames is not None, "pings are sent to the accepted only"
        self._stop_pings()
        self._session.end(ABNORMAL, "keep-alive ping timeout")
        self._stream.send_nowait(self._frames.close(FAILED, "keep-alive ping timeout"))
        self._stream.send_eof()  # now, not at the end of the turn, which does not come
        self._stream.abort()  # wakes whoever reads

    @property
    def _is_taking(self) -> bool:
        """What was sent before the ping is still on its way; how long that may take is the write timeout's business."""
        if self._stream.congested and self.connection.ctx.timeouts.write.strikes:
            return True
        return self._stream.untaken() < self._untaken_at_ping

    def _send_eof(self) -> None:
        self._stream.be_strict()  # what is held back for others leaves now
        if not self._stream.unsent:
            self._stream.send_eof()

    def _stop_pings(self) -> None:
        self._service.ping.disarm(self)
        self._service.pong.disarm(self)

    # What the connection and the log ask.

    def _log_access(self, access_log: "AccessLog") -> None:
        if self._frames is None:  # otherwise it was logged when the handshake was accepted
            super()._log_access(access_log)

    @property
    def session(self) -> WebSocketSession:
        """How it stands, for the log."""
        return self._session

    @property
    def complete(self) -> bool:
        """The handshake has been refused, or the closing handshake is over (RFC 6455 §7.1.4)."""
        return super().complete and (self._frames is None or self._frames.closed)
