"""What all WebSockets of a server share: their limits, and one queue per kind of wait."""

from collections.abc import Callable, Iterator
from operator import methodcaller
from typing import TYPE_CHECKING, Final

from trioserve._connection.timeouts import NoTimeout, Timeout
from trioserve._protocol import RequestHead

if TYPE_CHECKING:
    from trioserve._connection.http1 import Http1Connection
    from trioserve._connection.websocket import WebSocket

__all__ = ["WebSocketService"]

CLOSE_SECONDS: Final = 5.0  # for a client to answer a close frame; browsers do it at once
WATCH_SECONDS: Final = 0.1  # most applications receive again by then, so reading for them costs nothing


class WebSocketService:
    """One per server. Makes a ``WebSocket`` of each handshake.

    Attributes:
        max_size: largest message, in bytes.
        deflate: compress where the client offers it.
        ping: until the next keep-alive ping.
        pong: for a sign of life after a ping.
        close: for the client's answer to a close frame.
        watch: until somebody else reads for an application that does not receive.
    """

    def __init__(
        self, *, max_size: int, deflate: bool, ping_interval: float | None, ping_timeout: float | None,
        clock: Callable[[], float],
    ) -> None:
        def timeout(seconds: float | None, strike: str) -> "Timeout[WebSocket]":
            return Timeout(seconds, methodcaller(strike), clock) if seconds is not None else NoTimeout()

        self.max_size = max_size
        self.deflate = deflate
        self.ping = timeout(ping_interval, "on_ping_due")
        self.pong = timeout(ping_timeout, "on_pong_timeout")
        self.close = timeout(CLOSE_SECONDS, "on_close_timeout")
        self.watch = timeout(WATCH_SECONDS, "on_watch_due")

    def __call__(self, connection: "Http1Connection", head: RequestHead) -> "WebSocket":
        # wsproto brings h11 along: a quarter of a server's start, which most servers never need.
        from trioserve._connection.websocket import WebSocket

        return WebSocket(connection, head, self)

    @property
    def timeouts(self) -> "Iterator[Timeout[WebSocket]]":
        """Each needs its ``run`` as a task."""
        return iter((self.ping, self.pong, self.close, self.watch))
