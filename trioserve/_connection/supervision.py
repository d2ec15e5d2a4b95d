"""What looks after a request from outside while the application runs: its timeout, and whether the client still waits.

Both are off by default; a request without them has no supervision.
"""

from typing import TYPE_CHECKING

import anyio

from trioserve._errors import PeerError

if TYPE_CHECKING:
    from trioserve._connection.exchange import Exchange

__all__ = ["Supervision"]


class Supervision:
    """Of one exchange, until ``end``."""

    __slots__ = ("_exchange", "_watch")

    def __init__(self, exchange: "Exchange") -> None:
        self._exchange = exchange
        self._watch: anyio.CancelScope | None = None
        timeouts = exchange.connection.ctx.timeouts
        if timeouts.request is not None:
            timeouts.request.arm(self)
        if timeouts.watch is not None:
            timeouts.watch.arm(self)

    def end(self) -> None:
        """The application has ended, or what it does is no request any longer. May be called again."""
        timeouts = self._exchange.connection.ctx.timeouts
        if timeouts.request is not None:
            timeouts.request.disarm(self)
        if timeouts.watch is not None:
            timeouts.watch.disarm(self)
        if self._watch is not None:
            self._watch.cancel()

    def restart_timeout(self) -> None:
        """Give the request another ``timeout_request`` from now on; once it has ended, nothing."""
        timeout = self._exchange.connection.ctx.timeouts.request
        if timeout is not None:
            timeout.restart(self)

    def on_timeout(self) -> None:
        """The application takes longer than any request may."""
        exchange = self._exchange
        if exchange.unanswered:
            exchange.connection.refusal = PeerError(504, "the application took too long")
        exchange.connection.cancel("request-timeout")

    def start_watch(self) -> None:
        """With ``on_disconnect="cancel"``: from now on see to it that the client is still there."""
        self._watch = anyio.CancelScope()
        self._exchange.connection.ctx.start_soon(self._watch_client, self._watch)

    async def _watch_client(self, watch: anyio.CancelScope) -> None:
        connection = self._exchange.connection
        with watch:
            await connection.stream.wait_disconnected()
            if not self._exchange.complete:
                connection.cancel("client-disconnect")
