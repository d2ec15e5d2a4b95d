"""What is missing of a request's body when its head is here: received as somebody asks for it, within its time."""

from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel

from trioserve._errors import ClientDisconnected, PeerError

if TYPE_CHECKING:
    from trioserve._connection.exchange import Exchange

__all__ = ["SKIP_BYTES", "BodyReceiver"]

RECEIVE_BYTES: Final = 256 * 1024  # per syscall of an upload; a quarter of the wake-ups of 64 KiB
GIVE_WAY_BYTES: Final = 1024 * 1024  # received without a pause before others get a turn
SKIP_BYTES: Final = 64 * 1024  # of an unread request body: cheaper to read than to open a new connection
GRACE_SECONDS: Final = 5.0  # before the rate counts (Apache's mod_reqtimeout gives 20)
SLOWEST_BYTES_PER_SECOND: Final = 240  # slower than any modem, faster than a slow-body attack likes to be


class BodyReceiver:
    """Gets one body from the stream into the codec; made when more of it is wanted than came with the head."""

    __slots__ = ("_awaited_bytes", "_awaited_seconds", "_exchange", "_in_a_row", "_wait")

    def __init__(self, exchange: "Exchange") -> None:
        self._exchange = exchange
        self._wait: anyio.CancelScope | None = None
        self._awaited_bytes = 0
        self._awaited_seconds = 0.0
        self._in_a_row = 0  # bytes that were there without waiting

    async def receive_more(self) -> bool:
        """Hand the codec what comes next; false when nothing more will come.

        If cancelled, nothing is lost: what was received is in the codec.
        """
        exchange = self._exchange
        stream = exchange.connection.stream
        try:
            data = stream.receive_nowait(RECEIVE_BYTES)
            if data is None:
                data = await self._await_some()
            else:
                self._in_a_row += len(data)
        except ClientDisconnected:
            return False
        if not data and exchange.connection.refusal is None:
            exchange.refuse(PeerError(400, "the request body ended early"))
        exchange.connection.codec.receive_data(data)
        if self._in_a_row >= GIVE_WAY_BYTES:
            self._in_a_row = 0
            await anyio.lowlevel.checkpoint()
        return bool(data)

    async def _await_some(self) -> bytes:
        """Wait for bytes, within ``timeout_body`` and above the slowest rate that is believed."""
        connection = self._exchange.connection
        timeout, clock = connection.ctx.timeouts.body, connection.ctx.clock
        began = clock()
        data = b""
        with anyio.CancelScope() as self._wait:
            timeout.arm(self)
            try:
                data = await connection.stream.receive_some(RECEIVE_BYTES)
            finally:
                timeout.disarm(self)
        self._wait = None
        self._awaited_seconds += clock() - began
        self._awaited_bytes += len(data)
        counted = self._awaited_seconds - GRACE_SECONDS
        if data and counted > 0 and timeout.strikes and self._awaited_bytes < SLOWEST_BYTES_PER_SECOND * counted:
            self.on_timeout()
        return data

    def on_timeout(self) -> None:
        """The body does not come, or drips."""
        self._exchange.log_end("body-timeout")
        self._exchange.refuse(PeerError(408, "the request body took too long"))

    def stop_waiting(self) -> None:
        """Whoever waits in ``receive_more`` gets no more."""
        if self._wait is not None:
            self._wait.cancel()
