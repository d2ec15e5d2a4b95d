"""What is missing of a request's body when its head is here: received as somebody asks for it, within its time."""

from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel

from trioserve._connection.one_reader import OneReader
from trioserve._errors import ClientDisconnected, PeerError

if TYPE_CHECKING:
    from trioserve._connection.exchange import Exchange
    from trioserve._connection.http1 import Http1Connection

__all__ = ["SKIP_BYTES", "BodyReceiver"]

RECEIVE_BYTES: Final = 256 * 1024  # per syscall of an upload; a quarter of the wake-ups of 64 KiB
GIVE_WAY_BYTES: Final = 1024 * 1024  # received without a pause before others get a turn
SKIP_BYTES: Final = 64 * 1024  # of an unread request body: cheaper to read than to open a new connection
GRACE_SECONDS: Final = 5.0  # before the rate counts (Apache's mod_reqtimeout gives 20)
SLOWEST_BYTES_PER_SECOND: Final = 240  # slower than any modem, faster than a slow-body attack likes to be


class BodyReceiver:
    """Gets one body from the stream into the codec; made when more of it is wanted than came with the head."""

    __slots__ = ("_awaited_bytes", "_awaited_seconds", "_connection", "_in_a_row", "_reader", "_wait")

    def __init__(self, connection: "Http1Connection") -> None:
        self._connection = connection  # not the exchange, which has this object: no cycle for the garbage collector
        self._reader = OneReader()
        self._wait: anyio.CancelScope | None = None
        self._awaited_bytes = 0
        self._awaited_seconds = 0.0
        self._in_a_row = 0  # bytes that were there without waiting

    async def receive_more(self) -> bool:
        """Hand the codec what comes next, or let another task do so; false when nothing more will come.

        If cancelled, nothing is lost: what was received is in the codec.
        """
        if self._reader.busy:
            await self._reader.wait()
            return True
        connection = self._connection
        try:
            data = connection.stream.receive_nowait(RECEIVE_BYTES)
            if data is None:
                data = await self._await_some()
            else:
                self._in_a_row += len(data)
        except ClientDisconnected:
            return False
        if data is None:
            return False
        if not data and connection.refusal is None:
            self._exchange.refuse(PeerError(400, "the request body ended early"))
        connection.codec.receive_data(data)
        if self._in_a_row >= GIVE_WAY_BYTES:
            self._in_a_row = 0
            await anyio.lowlevel.checkpoint()
        return bool(data)

    async def _await_some(self) -> bytes | None:
        """Wait for bytes, within ``timeout_body`` and above the slowest rate that is believed; ``None`` if stopped."""
        connection = self._connection
        timeout, clock = connection.ctx.timeouts.body, connection.ctx.clock
        began = clock()
        data = None
        with anyio.CancelScope() as self._wait:
            timeout.arm(self)
            self._reader.busy = True
            try:
                data = await connection.stream.receive_some(RECEIVE_BYTES)
            finally:
                self._reader.done()
                timeout.disarm(self)
        self._wait = None
        if data is None:
            return None
        self._awaited_seconds += clock() - began
        self._awaited_bytes += len(data)
        counted = self._awaited_seconds - GRACE_SECONDS
        if data and counted > 0 and timeout.strikes and self._awaited_bytes < SLOWEST_BYTES_PER_SECOND * counted:
            self.on_timeout()
        return data

    def on_timeout(self) -> None:
        """The body does not come, or drips."""
        if not self._exchange.skips_body:
            self._exchange.log_end("body-timeout")
        self._exchange.refuse(PeerError(408, "the request body took too long"))

    @property
    def _exchange(self) -> "Exchange":
        exchange = self._connection.exchange
        assert exchange is not None, "no other request follows while this one's body is missing"
        return exchange

    def stop_waiting(self) -> None:
        """Whoever waits in ``receive_more`` gets no more."""
        if self._wait is not None:
            self._wait.cancel()

    async def stop(self) -> None:
        """Leave the stream to others, although a task that outlives the application may still wait for it."""
        self.stop_waiting()
        while self._reader.busy:
            await self._reader.wait()
