"""The frames of an accepted WebSocket on their stream: reading, answering, closing (RFC 6455 §5, §7)."""

import logging
from collections.abc import Callable
from typing import Any, Final

from trioserve._asgi.websocket import OPEN, WebSocketSession
from trioserve._complaints import complain
from trioserve._connection.channel import Tunnel
from trioserve._connection.one_reader import OneReader
from trioserve._connection.turn import Turn
from trioserve._connection.websocket.closing import Closing
from trioserve._connection.websocket.keep_alive import KeepAlive
from trioserve._connection.websocket_limits import WebSocketLimits
from trioserve._errors import ClientDisconnected
from trioserve._protocol.websocket.codec import ABNORMAL, BUSY, TOO_BIG, Close, Ping, WebSocketCodec

__all__ = ["FrameStream"]

log = logging.getLogger("trioserve")

RECEIVE_BYTES: Final = 64 * 1024  # per syscall; also the most that one turn of an application can find
LARGE_RECEIVE_BYTES: Final = 256 * 1024  # the same of a client that has filled that: it sends large messages
FAILED: Final = 1011  # close code (RFC 6455 §7.4.1)
LOOK_WORK: Final = 16 * 1024  # of the codec's measure, between two looks at the clock; 30 short messages


class FrameStream:
    """Of one WebSocket. One task at a time reads; whoever has something to say adds to ``pieces``.

    Attributes:
        codec: what has arrived, and how things are said.
        pieces: frames that have not been handed over yet.
        has_ended: nothing will arrive any more.
        is_paused: nobody reads, because the application takes too little.
        end_reason: why the server closed, when the client did not keep to its part; empty otherwise.
    """

    __slots__ = (
        "_closing", "_has_failed", "_keep_alive", "_limits", "_look_at", "_reader", "_receive_bytes", "_session",
        "_stream", "_turn", "codec", "end_reason", "has_ended", "is_paused", "pieces",
    )  # fmt: skip

    def __init__(
        self, stream: Tunnel, codec: WebSocketCodec, session: WebSocketSession, limits: WebSocketLimits, *,
        write_timeout: bool,
    ) -> None:  # fmt: skip
        self._stream = stream
        self._session = session
        self._limits = limits
        self._reader = OneReader()
        self._closing = Closing(stream, limits, self.on_no_answer)
        self._receive_bytes = RECEIVE_BYTES
        self._keep_alive = KeepAlive(stream, codec, limits, self.on_silence, write_timeout=write_timeout)
        self._look_at = LOOK_WORK  # codec.work by which it is time to look whether the turn is over
        self._turn = Turn()
        self._has_failed = False  # the client broke the protocol and was told so
        self.codec = codec
        self.pieces: list[bytes] = []
        self.has_ended = False
        self.is_paused = False
        self.end_reason = ""

    # Saying something.

    def hand_over(self) -> None:
        """Give the stream what there is to say."""
        if self.pieces:
            data = b"".join(self.pieces)
            self.pieces.clear()
            self._stream.send_nowait(data)

    async def flush(self) -> None:
        """The same, and wait while the client is slow. Raises ClientDisconnected."""
        self.hand_over()
        if self._stream.congested:
            await self._stream.drain()
        if self._stream.lost:
            raise ClientDisconnected("the client has gone")

    def begin(self) -> None:
        """The handshake is over."""
        self._keep_alive.begin()

    def close(self, code: int, reason: str) -> None:
        """Tell the client that this is the end."""
        self.pieces.append(self._session.close(code, reason))
        self.on_closed()

    def on_closed(self) -> None:
        """A close frame has been said: give the client a moment to agree."""
        self.hand_over()  # the client waits for it
        self._keep_alive.end()
        self._closing.begin()

    def send_eof(self) -> bool:
        """The client need not wait for what the application still does. False while something is unsent."""
        self._stream.uncork()
        if self._stream.unsent and not self._stream.lost:
            return False
        self._stream.send_eof()
        return True

    def on_no_answer(self) -> None:
        """The client does not answer a close frame."""
        self._abort("close-timeout")

    def on_silence(self) -> None:
        """The client has not answered a ping. But not everybody who is alive could have answered."""
        if self.is_paused:
            return
        self._limits.strike("ws_ping_timeout")
        self._keep_alive.end()
        self._session.end(ABNORMAL, "keep-alive ping timeout")
        self._stream.send_nowait(self.codec.close(FAILED, "keep-alive ping timeout"))
        self._stream.send_eof()
        self._stream.uncork()  # now, not at the end of the turn, which does not come
        self._abort("ping-timeout")

    def _abort(self, reason: str) -> None:
        self.end_reason = reason
        complain(log, "%s: closing the WebSocket of %s", reason, self._stream.peer, level=logging.DEBUG)
        self._stream.abort()  # wakes whoever reads

    # Reading.

    async def next_message(self) -> str | bytes | None:
        """The next data message; ``None`` when there will be none. What is not for the application is answered."""
        codec, session = self.codec, self._session
        while session.state == OPEN:
            if codec.work > self._look_at:
                await self._give_way()  # and look again: meanwhile the server may have closed
                continue
            event = codec.next_event()
            if type(event) is str or type(event) is bytes:
                return event
            if event is None:
                await self.read()
            elif event is BUSY:
                await self._give_way()
            else:
                self.answer(event)
        return None

    async def take_in(self, keep: Callable[[str | bytes], None]) -> bool:
        """One event, for an application that does not receive; false when the client has said its last.

        Between a wait and the next event the caller looks whether the application receives after all.
        """
        if self.codec.work > self._look_at:
            await self._give_way()
            return True
        event = self.codec.next_event()
        if type(event) is str or type(event) is bytes:
            keep(event)
        elif event is BUSY:
            await self._give_way()
        elif event is not None:
            self.answer(event)
        elif self.codec.closed:
            return False
        else:
            await self.read()
        return True

    async def _give_way(self) -> None:
        """One client's frames must not keep the others waiting."""
        self._look_at = self.codec.work + LOOK_WORK
        await self._turn.give_way()

    async def read(self) -> None:
        """Wait until something has arrived, or until somebody else has read it."""
        reader = self._reader
        if reader.busy:
            await reader.wait()
            return
        self.hand_over()
        reader.busy = True
        try:
            if self._stream.congested:
                await self.flush()  # answers pile up: who does not read is not read
            if self._has_failed:
                self.send_eof()  # the client waits for it (RFC 6455 §7.1.1); until now something may have been unsent
            data = await self._stream.receive_some(self._receive_bytes)
        except ClientDisconnected:
            data = b""
        finally:
            reader.done()
        if data:
            self._keep_alive.hear()
            if len(data) == RECEIVE_BYTES:
                self._receive_bytes = LARGE_RECEIVE_BYTES
            self.codec.receive_data(data)
            if self.codec.closed:  # it drops what comes now, and counts no work
                await self._turn.give_way()
        else:
            self.has_ended = True
            self._session.end(ABNORMAL, "")
            self._keep_alive.end()

    def answer(self, event: Any) -> None:
        """Do what is not the application's business."""
        if isinstance(event, Ping):
            self.pieces.append(self.codec.pong(event.payload))
        elif isinstance(event, Close):
            self._has_failed = event.failed
            if event.failed and event.code == TOO_BIG:
                self._limits.strike("ws_max_size")
            if self._session.state == OPEN:
                self.close(event.code, event.reason)
            if self._has_failed:
                self.send_eof()
            else:
                self._closing.end()

    # The end.

    async def finish(self) -> None:
        """Wait for the client to agree that this is the end; what it still says is too late."""
        while True:
            event = self.codec.next_event()
            if event is BUSY or self.codec.work > self._look_at:
                await self._give_way()
            elif event is None:
                if self.has_ended or (self.codec.closed and not self._has_failed):
                    break
                await self.read()

    def end(self) -> None:
        """Leave nothing behind."""
        self._session.end(ABNORMAL, "")
        self._keep_alive.end()
        self._closing.end()
