"""How long a client may take to answer a close frame, which it sees when it has taken what was sent before."""

from collections.abc import Callable
from typing import Final

from trioserve._connection.channel import Tunnel
from trioserve._connection.websocket_limits import WebSocketLimits

__all__ = ["Closing"]

STUCK_LOOKS: Final = 6  # without progress, each as long as the time for an answer: half a minute, as at other ends
FRAME_BYTES: Final = 256  # a close frame alone is smaller, also in a record of TLS


class Closing:
    """Of one WebSocket. ``on_silence`` is called when there has been no answer in time."""

    __slots__ = ("_had_much", "_is_late", "_limits", "_looks", "_on_silence", "_stream", "_untaken")

    def __init__(self, stream: Tunnel, limits: WebSocketLimits, on_silence: Callable[[], None]) -> None:
        self._stream = stream
        self._limits = limits
        self._on_silence = on_silence
        self._is_late = False  # the time was over when there was something to read
        self._had_much = False  # at the last look the client had more to take than the close frame
        self._untaken = 0  # bytes, at the last look
        self._looks = 0  # in a row that have seen no progress

    def begin(self) -> None:
        """The close frame has been handed over."""
        self._look()
        self._limits.close.arm(self)

    def end(self) -> None:
        """It has been answered, or nobody cares any more. May be called again."""
        self._limits.close.disarm(self)

    def on_timeout(self, kind: str) -> None:
        """There is no answer yet."""
        if not self._is_late and self._stream.has_input():  # we are late, not the client
            self._is_late = True
            self._limits.close.arm(self)
        elif self._was_taking():
            self._limits.close.arm(self)
        else:
            self._on_silence()

    def _was_taking(self) -> bool:
        """The client may not have had the whole time since it saw the close frame, nor has it stood still for long."""
        had_much, before = self._had_much, self._untaken
        self._look()
        self._looks = 0 if self._untaken < before else self._looks + 1
        return had_much and self._looks < STUCK_LOOKS

    def _look(self) -> None:
        self._untaken = self._stream.untaken()  # of a stream of HTTP/2 only a measure
        self._had_much = max(self._untaken, self._stream.unsent) > FRAME_BYTES
