"""The body of an HTTP/2 request: taken from its stream as somebody asks for it, within its time."""

from typing import Final, Protocol

import anyio

from trioserve._connection.context import ServerContext
from trioserve._connection.farewell import LINGER_SECONDS, SILENCE_SECONDS
from trioserve._connection.slow_body import BodyPace, BodyTimeout
from trioserve._connection.timeouts import NoTimeout
from trioserve._connection.turn import Turn
from trioserve._errors import PeerError
from trioserve._protocol import Meaning
from trioserve._streams import WaitingTasks

__all__ = ["Http2Inlet"]

NO_TIMEOUT: Final = NoTimeout("body")


class BodyStream(Protocol):
    """The stream that brings the body."""

    lost: bool

    def acknowledge(self, size: int) -> None:
        """So many bytes have been taken: the client may send as many more."""

    def ask_for_body(self) -> None:
        """Send ``100 Continue``."""

    def is_disconnected(self) -> bool: ...
    def has_input(self) -> bool: ...


class Http2Inlet:
    """Keeps what has arrived until somebody takes it; the window of the stream bounds it.

    Attributes:
        awaits_continue: the client keeps the body back until it is told that somebody wants it (RFC 9110 §10.1.1).
        has_ended: the client has sent all of it.
    """

    __slots__ = (
        "_ctx", "_failure", "_is_wanted", "_length", "_limit", "_news", "_pace", "_parts", "_stream", "_timeout",
        "_total", "_turn", "awaits_continue", "has_ended",
    )  # fmt: skip

    def __init__(self, stream: BodyStream, ctx: ServerContext, meaning: Meaning, limit: int | None) -> None:
        self._stream = stream
        self._ctx = ctx
        is_tunnel = meaning.offers_websocket  # which ends when it ends, and may be silent until then
        self._length = None if is_tunnel else meaning.content_length
        self._limit = None if is_tunnel else limit
        self._timeout = NO_TIMEOUT if is_tunnel else ctx.timeouts.body
        self._parts: list[bytes] = []
        self._total = 0  # bytes that have arrived
        self._is_wanted = True
        self._news: WaitingTasks | None = None  # made when somebody waits
        self._pace: BodyPace | None = None  # likewise
        self._failure: PeerError | None = None
        self._turn: Turn | None = None
        self.awaits_continue = meaning.expects_continue
        self.has_ended = False

    # What the connection tells.

    def feed(self, data: bytes, ends: bool) -> None:
        """A part has come, perhaps the last one.

        Raises:
            PeerError: it is longer or shorter than the head says, so the request is malformed (RFC 9113 §8.1.1).
        """
        self._total += len(data)
        length = self._length
        if length is not None and self._is_wanted and (self._total > length or (ends and self._total < length)):
            raise PeerError(400, f"the request body is not of the {length} bytes that its head announces")
        self.has_ended = self.has_ended or ends
        if self._limit is not None and self._total > self._limit and self._is_wanted:
            self._fail(PeerError(
                413, f"request body over the limit of {self._limit} bytes", limit="limit_request_body"))
        if not self._is_wanted:
            self._stream.acknowledge(len(data))
            if ends:
                self.wake()
            return
        if data:
            self._parts.append(data)
        self.wake()

    def wake(self) -> None:
        """Whoever waits looks again."""
        if self._news is not None:
            self._news.wake()

    # As in ``Inlet``.

    @property
    def body_complete(self) -> bool:
        return self.has_ended and not self._parts

    def take_body(self) -> bytes:
        if self._failure is not None:
            raise self._failure
        if not self._parts:
            return b""
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._drop()
        return data

    def _drop(self) -> None:
        parts, self._parts = self._parts, []
        if parts:
            self._stream.acknowledge(sum(map(len, parts)))

    async def receive_more(self, *, may_ask: bool) -> bool:
        if self._failure is not None:
            raise self._failure
        if self.awaits_continue:
            self.awaits_continue = False
            if may_ask:
                self._stream.ask_for_body()
        if not self._is_over:
            await self._await_some()
        if self._failure is not None:
            raise self._failure
        return not self._is_over or bool(self._parts) or self.has_ended

    @property
    def _is_over(self) -> bool:
        return not self._is_wanted or self._is_at_end

    @property
    def _is_at_end(self) -> bool:
        return self.has_ended or self._stream.is_disconnected()

    def _arrivals(self) -> WaitingTasks:
        if self._news is None:
            self._news = self._ctx.new_waiting_tasks()
        return self._news

    async def _await_some(self) -> None:
        """Wait for bytes, within ``timeout_body`` and above the slowest rate that is believed."""
        timeout, clock = self._timeout, self._ctx.clock
        news = self._arrivals()
        if news:  # the first who waits keeps the time
            await news.wait()
            return
        began, before = clock(), self._total
        timeout.arm(self)
        try:
            await news.wait()
        except BaseException:
            self.wake()  # somebody else has to keep the time
            raise
        finally:
            timeout.disarm(self)
        if self._turn is not None:
            self._turn.end()
        pace = self._pace = self._pace or BodyPace()
        pace.note(self._total - before, clock() - began)
        if self._total > before and timeout.strikes and pace.is_drip:
            self._fail(BodyTimeout())

    def on_timeout(self, kind: str) -> None:
        """Nothing has come for the whole of ``timeout_body``."""
        if self._stream.has_input():  # we are late, not the client
            self._timeout.arm(self)
        else:
            self._fail(BodyTimeout())

    def _fail(self, failure: PeerError) -> None:
        self._failure = failure
        self.stop_waiting()

    async def give_way(self) -> None:
        self._turn = self._turn or Turn()
        await self._turn.give_way()

    def stop_waiting(self) -> None:
        """Nobody wants the rest: what comes is acknowledged and dropped, so that it takes no room from others."""
        self._is_wanted = False
        self._drop()
        self.wake()

    async def wait_until_skipped(self) -> None:
        """Until all of it has come, or the client stops, or goes on for too long."""
        with anyio.move_on_after(LINGER_SECONDS):
            is_coming = True
            while is_coming and not self._is_at_end:
                before = self._total
                with anyio.move_on_after(SILENCE_SECONDS):
                    await self._arrivals().wait()
                is_coming = self._total > before

    def received_bytes(self, length: int | None) -> int | None:
        return self._total

    async def stop(self) -> None:
        self.stop_waiting()
