"""How an HTTP/2 connection ends: so that its client knows which requests were taken (RFC 9113 §6.8)."""

from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from trioserve._connection.farewell import HURRY_SECONDS, linger
from trioserve._connection.http2.sender import Sender
from trioserve._protocol.http2.frames import (
    HIGHEST_STREAM_ID,
    NO_ERROR,
    FieldSectionTooLarge,
    goaway_frame,
    last_fields_frames,
    ping_frame,
)
from trioserve._streams import ByteStream
from trioserve._types import Fields

__all__ = ["Goodbye"]

NOTICE_SECONDS: Final = 1.0  # for a client to say that it has heard of the end
BEGUN_SECONDS: Final = 0.1  # for the requests that it had begun by then
FIRST_SECONDS: Final = 1.0  # for the first request of a client that has just connected
PING: Final = b"goodbye."


class Goodbye:
    """Of one connection, in two steps: a notice that takes every request, and the end, which names the last one taken.

    A client connects because it has a request. HAProxy 2.6 answers 502 for a request that it has not sent yet when the
    notice comes. So a new connection hears the notice after its first request. Go's client numbers a request, and may
    acknowledge the ping before it sends the request. So the second step comes a moment after the acknowledgement.

    Attributes:
        is_announced: the client has been told that there will be an end.
        is_leaving: the second step will come.
        is_final: it has come.
        last_stream_id: of the requests that were taken.
        requests: how many were.
    """

    __slots__ = (
        "_answered", "_asked", "_left", "_new_until", "_scope", "_sender", "_stream", "_stream_over", "is_announced",
        "is_final", "is_leaving", "last_stream_id", "requests",
    )  # fmt: skip

    def __init__(self, stream: ByteStream, sender: Sender, now: float) -> None:
        self._stream = stream
        self._sender = sender
        self._new_until = now + FIRST_SECONDS
        self._asked: anyio.Event | None = None  # made by who waits for the first request
        self._answered: anyio.Event | None = None  # made with the ping
        self._left: anyio.Event | None = None  # made by who waits for the requests that have begun
        self._stream_over: anyio.Event | None = None  # made for who waits for it
        self._scope: anyio.CancelScope | None = None  # of ``close``
        self.is_announced = self.is_leaving = self.is_final = False
        self.last_stream_id = self.requests = 0

    def take(self, stream_id: int) -> None:
        """A request that is not refused."""
        self.last_stream_id = stream_id
        self.requests += 1
        if self._asked is not None:
            self._asked.set()

    def refuses(self, stream_id: int) -> bool:
        """The client has sent a request that it was told to take elsewhere, or is about to be told."""
        return self.is_final and stream_id > self.last_stream_id

    def awaits_first_request(self, now: float) -> bool:
        """The client has connected a moment ago, and has not asked for anything yet."""
        return not self.requests and now < self._new_until

    def announce(self) -> anyio.Event:
        """The first step. A ping shows when the client has heard of it; then the event is set."""
        self.is_announced = True
        self._answered = answered = anyio.Event()
        if not self.is_final:
            self._say(goaway_frame(HIGHEST_STREAM_ID, NO_ERROR) + ping_frame(PING))
        return answered

    def on_pong(self) -> None:
        if self._answered is not None:
            self._answered.set()

    async def say(self) -> None:
        """Both steps, or the second one; it comes when no request can be on the way any more."""
        if self._answered is None:
            await self._first_request()
        if not self._stream.lost:
            await self._requests_on_the_way()
        if not self.is_final and not self._stream.lost:
            self.say_last(NO_ERROR)

    async def _first_request(self) -> None:
        self._asked = anyio.Event()
        if not self.requests:
            with anyio.move_on_at(self._new_until):
                await self._asked.wait()

    async def _requests_on_the_way(self) -> None:
        answered = self._answered or self.announce()
        self._left = left = anyio.Event()
        with anyio.move_on_after(NOTICE_SECONDS):
            await answered.wait()
            with anyio.move_on_after(BEGUN_SECONDS):
                await left.wait()

    def stop_waiting(self) -> None:
        """The client will say nothing any more."""
        for event in (self._asked, self._answered, self._left):
            if event is not None:
                event.set()

    def say_last(self, code: int) -> None:
        """No further request is taken."""
        self.is_final = True
        self._say(goaway_frame(self.last_stream_id, code))

    def refuse_last(self, refusal: FieldSectionTooLarge, head: Fields, table_bytes: int) -> None:
        """Answer with ``head`` a request that cannot be read; no further one can."""
        self._sender.flush()
        if not self.is_final:
            self.take(refusal.stream_id)
            self._say(last_fields_frames(refusal.stream_id, head, table_bytes))
            self.say_last(refusal.code)

    def _say(self, frames: bytes) -> None:
        """Past the engine, because h2 would not let answers follow."""
        self._sender.flush()
        self._stream.send_nowait(frames)
        self._stream.uncork()

    # The end of the stream below.

    def on_stream_over(self) -> None:
        """Of those in progress one has ended, so that another may begin; or none is left."""
        if self._stream_over is not None:
            self._stream_over.set()

    def next_stream_over(self) -> anyio.Event:
        self._stream_over = anyio.Event()
        return self._stream_over

    def hurry(self) -> None:
        """The server does not wait for the client any longer."""
        self._begin_to_close().deadline = anyio.current_time() + HURRY_SECONDS

    def _begin_to_close(self) -> anyio.CancelScope:
        self._scope = self._scope or anyio.CancelScope(shield=True)
        return self._scope

    async def close(self, applications_end: Callable[[], Awaitable[None]]) -> None:
        """Let those that have been cancelled, and then the client, have the last word. Raises ClientDisconnected."""
        with self._begin_to_close():
            await applications_end()
            if not self.is_final:
                self.say_last(NO_ERROR)
            await linger(self._stream)
            await self._stream.aclose()
