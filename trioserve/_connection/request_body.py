"""The body of an HTTP/1.1 request: received as somebody asks for it, within its time."""

from typing import Final

import anyio

from trioserve._connection.context import ServerContext
from trioserve._connection.one_reader import OneReader
from trioserve._connection.slow_body import BodyPace, BodyTimeout
from trioserve._connection.turn import Turn
from trioserve._errors import ClientDisconnected, PeerError
from trioserve._protocol import Http1Codec
from trioserve._streams import ByteStream

__all__ = ["NO_BODY", "SKIP_BYTES", "Http1Inlet", "WholeBody"]

RECEIVE_BYTES: Final = 256 * 1024  # per syscall of an upload; a quarter of the wake-ups of 64 KiB
# Of an unread request body. To read 200 KB costs 40 us, to close and open a connection 130 to 190. Go has this bound.
SKIP_BYTES: Final = 256 * 1024

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Http1Inlet:
    """Gets the body of one request from the stream through the codec.

    Attributes:
        awaits_continue: the client keeps the body back until it is told that somebody wants it (RFC 9110 §10.1.1).
    """

    # Defaults of the class, not of each instance: most bodies come with their heads and never touch these.
    _reader: OneReader | None = None
    _turn: Turn | None = None
    _wait: anyio.CancelScope | None = None
    _failure: PeerError | None = None  # what whoever waits is to raise
    _pace: BodyPace | None = None

    def __init__(self, stream: ByteStream, codec: Http1Codec, ctx: ServerContext, *, awaits_continue: bool) -> None:
        self._stream = stream
        self._codec = codec
        self._ctx = ctx
        self.awaits_continue = awaits_continue

    @property
    def body_complete(self) -> bool:
        return self._codec.body_complete

    def take_body(self) -> bytes:
        return self._codec.take_body()

    async def receive_more(self, *, may_ask: bool) -> bool:
        """As in ``Inlet``."""
        if self._reader is not None and self._reader.busy:
            await self._reader.wait()
            return True
        if self.awaits_continue:
            self.awaits_continue = False
            if may_ask:
                self._stream.send_nowait(_CONTINUE)
                self._stream.uncork()
        try:
            data = self._stream.receive_nowait(RECEIVE_BYTES)
            if data is None:
                data = await self._await_some()
                if self._turn is not None:
                    self._turn.end()
        except ClientDisconnected:
            return False
        if data is None:
            return False
        if not data:
            raise PeerError(400, "the request body ended early")
        self._codec.receive_data(data)
        return True

    async def _await_some(self) -> bytes | None:
        """Wait for bytes, within ``timeout_body`` and above the slowest rate that is believed; ``None`` if stopped."""
        timeout, clock = self._ctx.timeouts.body, self._ctx.clock
        reader = self._reader = self._reader or OneReader()
        began = clock()
        data = None
        with anyio.CancelScope() as self._wait:
            timeout.arm(self)
            reader.busy = True
            try:
                data = await self._stream.receive_some(RECEIVE_BYTES)
            finally:
                reader.done()
                timeout.disarm(self)
        self._wait = None
        if self._failure is not None:
            raise self._failure
        if data is None:
            return None
        pace = self._pace = self._pace or BodyPace()
        pace.note(len(data), clock() - began)
        if data and timeout.strikes and pace.is_drip:
            raise BodyTimeout
        return data

    def on_timeout(self, kind: str) -> None:
        """Nothing has come for the whole of ``timeout_body``."""
        if self._stream.has_input():  # we are late, not the client
            self._ctx.timeouts.body.arm(self)
        else:
            self._failure = BodyTimeout()
            self.stop_waiting()

    async def give_way(self) -> None:
        """As in ``Inlet``."""
        self._turn = self._turn or Turn()
        await self._turn.give_way()

    async def skip(self) -> bool:
        """Read past what nobody has read of the body; false when that is too much (RFC 9112 §9.3)."""
        skipped = 0
        try:
            while True:
                skipped += len(self._codec.take_body())
                if self._codec.body_complete:
                    return True
                if self.awaits_continue or skipped > SKIP_BYTES:
                    return False
                if not self._codec.body_pending and not await self.receive_more(may_ask=False):
                    return False
                await self.give_way()
        except PeerError:
            return False

    @property
    def leaves_little(self) -> bool:
        """What is missing of the body may be skipped, as far as that is known."""
        remaining = self._codec.body_remaining
        return not self.awaits_continue and (remaining is None or remaining <= SKIP_BYTES)

    def stop_waiting(self) -> None:
        """Whoever waits in ``receive_more`` gets no more."""
        if self._wait is not None:
            self._wait.cancel()

    def received_bytes(self, length: int | None) -> int | None:
        """As in ``Inlet``."""
        remaining = self._codec.body_remaining
        return self._codec.chunks_taken if length is None or remaining is None else length - remaining

    async def stop(self) -> None:
        """As in ``Inlet``: a task that outlives its application may still wait for the stream."""
        self.stop_waiting()
        while self._reader is not None and self._reader.busy:
            await self._reader.wait()


class _NoBody:
    """The inlet of a request without a body, as most are."""

    __slots__ = ()

    body_complete = True

    def take_body(self) -> bytes:
        return b""

    async def receive_more(self, *, may_ask: bool) -> bool:
        return False

    async def give_way(self) -> None:
        """Nothing was received."""

    def stop_waiting(self) -> None:
        """Nobody waits."""

    def received_bytes(self, length: int | None) -> int | None:
        return length

    async def stop(self) -> None:
        """Nobody waits."""


NO_BODY: Final = _NoBody()


class WholeBody(_NoBody):
    """The inlet of a request whose body has come with its head, as small ones do: there is nothing to wait for."""

    __slots__ = ("_body",)

    def __init__(self, body: bytes) -> None:
        self._body = body

    def take_body(self) -> bytes:
        body, self._body = self._body, b""
        return body

    def received_bytes(self, length: int | None) -> int | None:
        return None if length is None else length - len(self._body)
