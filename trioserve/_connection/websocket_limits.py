"""What all WebSockets of a server share: their limits, and one queue per kind of wait."""

from collections.abc import Callable, Iterator
from typing import Final

from trioserve._connection.timeouts import Timeout, new_timeout

__all__ = ["WebSocketLimits"]

CLOSE_SECONDS: Final = 5.0  # for a client to answer a close frame; browsers do it at once
WATCH_SECONDS: Final = 0.1  # most applications receive again by then, so reading for them costs nothing


class WebSocketLimits:
    """One per server.

    Attributes:
        max_size: largest message, in bytes.
        strike: counts that the limit of an option has struck.
        deflate: compress where the client offers it.
        ping: until the next keep-alive ping.
        pong: for a sign of life after a ping.
        age: until a WebSocket has been open for long enough.
        close: for the client's answer to a close frame.
        watch: until somebody else reads for an application that does not receive.
    """

    def __init__(
        self, *, max_size: int, deflate: bool, ping_interval: float | None, ping_timeout: float | None,
        max_age: float | None, clock: Callable[[], float], strike: Callable[[str], None],
    ) -> None:
        self.max_size = max_size
        self.deflate = deflate
        self.strike = strike
        self.ping = new_timeout("ping", ping_interval, clock)
        self.pong = new_timeout("pong", ping_timeout, clock)
        self.age = new_timeout("age", max_age, clock)
        self.close = new_timeout("close", CLOSE_SECONDS, clock)
        self.watch = new_timeout("watch", WATCH_SECONDS, clock)

    @property
    def timeouts(self) -> Iterator[Timeout]:
        """Each needs its ``run`` as a task."""
        return iter((self.ping, self.pong, self.age, self.close, self.watch))
