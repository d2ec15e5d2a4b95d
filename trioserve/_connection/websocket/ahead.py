"""Reads from a WebSocket while its application does not, so that pings are answered and a close is noticed."""

from collections import deque
from typing import Final

import anyio

from trioserve._asgi import MESSAGE_COST
from trioserve._asgi.websocket import OPEN, WebSocketSession
from trioserve._connection.channel import Owner
from trioserve._connection.websocket.frames import FrameStream
from trioserve._connection.websocket_limits import WebSocketLimits

__all__ = ["READ_AHEAD_BYTES", "ReadAhead"]

READ_AHEAD_BYTES: Final = 64 * 1024  # of messages, for an application that does not receive; or a single larger one


class ReadAhead:
    """Of one accepted WebSocket. What the application will want is kept, within bounds.

    Attributes:
        receiving: calls of ``receive()`` in progress.
    """

    __slots__ = (
        "_frames", "_limits", "_owner", "_parked", "_parked_bytes", "_reader", "_session", "_watches", "receiving",
    )  # fmt: skip

    def __init__(self, frames: FrameStream, session: WebSocketSession, limits: WebSocketLimits, owner: Owner) -> None:
        self._frames = frames
        self._session = session
        self._limits = limits
        self._owner = owner
        self._parked: deque[str | bytes] | None = None  # made when it is needed, which is rare
        self._parked_bytes = 0
        self._reader: anyio.CancelScope | None = None  # of the task that reads
        self._watches = False
        self.receiving = 0

    def watch_soon(self) -> None:
        """Look after a while whether the application receives."""
        if not self._watches:
            self._watches = True
            self._limits.watch.arm(self)

    def end(self) -> None:
        """Never again, although a task that outlives the application may still receive."""
        self._watches = True
        self._limits.watch.disarm(self)
        if self._reader is not None:
            self._reader.cancel()

    def on_timeout(self, kind: str) -> None:
        """The application has not received for a while; if it still does not, somebody else has to."""
        frames = self._frames
        if frames.codec.closed:
            if not frames.send_eof():
                self._limits.watch.arm(self)  # something is unsent
            return
        self._watches = False
        if self.receiving or self._reader is not None or frames.has_ended or self._is_full:
            return
        self._reader = anyio.CancelScope()
        self._owner.start_child(self._read, self._reader)

    async def _read(self, cancel_scope: anyio.CancelScope) -> None:
        """As long as the application does not receive, and there is room."""
        frames = self._frames
        try:
            with cancel_scope:
                while not self.receiving and not frames.has_ended and not self._is_full:
                    if not await frames.take_in(self._park):
                        if not frames.send_eof():  # the client need not wait for what the application still does
                            self.watch_soon()
                        break
                frames.hand_over()
        finally:
            self._reader = None

    @property
    def _is_full(self) -> bool:
        return self._parked_bytes >= READ_AHEAD_BYTES

    def _park(self, data: str | bytes) -> None:
        if self._session.state != OPEN:
            return
        if self._parked is None:
            self._parked = deque()
        self._parked.append(data)
        self._parked_bytes += len(data) + MESSAGE_COST
        self._frames.is_paused = self._is_full

    def take(self) -> str | bytes | None:
        """The oldest message that was read ahead."""
        if not self._parked:
            return None
        data = self._parked.popleft()
        self._parked_bytes -= len(data) + MESSAGE_COST
        self._frames.is_paused = self._is_full
        return data
