"""Whether the client of a WebSocket is still alive: pings, and what counts as an answer (RFC 6455 §5.5.2)."""

from collections.abc import Callable

from trioserve._connection.channel import Tunnel
from trioserve._connection.websocket_limits import WebSocketLimits
from trioserve._protocol.websocket.codec import WebSocketCodec

__all__ = ["KeepAlive"]


class KeepAlive:
    """Of one accepted WebSocket, until ``end``. Pings come from a queue that all WebSockets share.

    Args:
        on_silence: called when a client did not answer in time.
        write_timeout: it is another timeout's business how long a client may take for what was sent.
    """

    __slots__ = (
        "_awaits_pong", "_codec", "_heard", "_limits", "_on_silence", "_stream", "_untaken_at_ping", "_write_timeout",
    )  # fmt: skip

    def __init__(
        self, stream: Tunnel, codec: WebSocketCodec, limits: WebSocketLimits, on_silence: Callable[[], None], *,
        write_timeout: bool,
    ) -> None:  # fmt: skip
        self._stream = stream
        self._codec = codec
        self._limits = limits
        self._on_silence = on_silence
        self._write_timeout = write_timeout
        self._heard = False  # something arrived since the last ping
        self._awaits_pong = False
        self._untaken_at_ping = 0  # bytes

    def begin(self) -> None:
        self._limits.ping.arm(self)

    def hear(self) -> None:
        """Something has arrived."""
        self._heard = True

    def end(self) -> None:
        """Nobody cares any more. May be called again."""
        self._limits.ping.disarm(self)
        self._limits.pong.disarm(self)

    def on_timeout(self, kind: str) -> None:
        """It is time for a ping, or was for its answer."""
        if kind == "ping":
            self._limits.ping.arm(self)
            if self._heard or not self._awaits_pong:  # otherwise one is overdue already
                self._ping()
        else:
            self._awaits_pong = False
            if not self._heard and not self._is_taking and not self._has_spoken:
                self._on_silence()

    def _ping(self) -> None:
        """Ask for a sign of life."""
        self._limits.pong.disarm(self)
        self._heard = False
        self._awaits_pong = True
        self._untaken_at_ping = self._stream.untaken()
        self._codec.rest()
        self._stream.send_nowait(self._codec.ping())
        self._limits.pong.arm(self)

    @property
    def _has_spoken(self) -> bool:
        """Something is there to be read: we are late, not the client. Of one who does not take it may be old."""
        return not self._stream.congested and self._stream.has_input()

    @property
    def _is_taking(self) -> bool:
        """What was sent before the ping is still on its way."""
        if self._stream.congested and self._write_timeout:
            return True
        return self._stream.untaken() < self._untaken_at_ping
