"""The streams of one HTTP/2 connection, and where each of them is in its life."""

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from trioserve._connection.http2.stream import Http2Stream
from trioserve._protocol.http2.frames import NO_ERROR

if TYPE_CHECKING:
    from trioserve._connection.http2.stream import Http2Answer

__all__ = ["Http2Streams"]


class Http2Streams:
    """True while there is one.

    A stream is *open* until all of its answer has been sent, or nothing more can be. An application may go on for
    longer. A stream that is open and has not begun waits for its turn.

    Attributes:
        waiting: in the order in which they came.
    """

    __slots__ = ("_going_on", "_open", "waiting")

    def __init__(self) -> None:
        self._open: dict[int, Http2Stream] = {}
        self._going_on: set[Http2Stream] = set()  # whose applications run, although they are not open
        self.waiting: deque[Http2Stream] = deque()

    def __bool__(self) -> bool:
        return bool(self._open or self._going_on)

    def __iter__(self) -> Iterator[Http2Stream]:
        """All of them; they may end meanwhile."""
        return iter((*self._open.values(), *self._going_on))

    @property
    def open_count(self) -> int:
        return len(self._open)

    @property
    def busy(self) -> list[Http2Stream]:
        """Those whose applications have not ended."""
        return [stream for stream in self if stream.is_running]

    def get(self, stream_id: int) -> Http2Stream | None:
        """The open stream of that number."""
        return self._open.get(stream_id)

    def add(self, stream: Http2Stream) -> None:
        self._open[stream.id] = stream

    def make_room(self) -> bool:
        """Let go of the oldest stream that only takes the rest of its request; false if there is none."""
        for stream in self._open.values():
            if stream.skips_body:
                stream.reset(NO_ERROR)
                return True
        return False

    def take_waiting(self, most: int) -> Http2Stream | None:
        """The next one to begin, if fewer than ``most`` have begun and not ended."""
        waiting = self.waiting
        if waiting and len(self._open) - len(waiting) + len(self._going_on) < most:
            return waiting.popleft()
        return None

    def drop_waiting(self, stream: Http2Stream) -> None:
        """It need not begin, if it has not."""
        if stream in self.waiting:
            self.waiting.remove(stream)
            stream.is_running = False

    def on_sent(self, stream: Http2Stream) -> bool:
        """See ``Carrier.on_stream_sent``. True when nothing is left of the stream: there is room for another."""
        self._open.pop(stream.id, None)
        if stream.is_running:
            self._going_on.add(stream)
            return False
        stream.forget()
        return True

    def on_ended(self, stream: Http2Stream) -> bool:
        """See ``Carrier.on_stream_ended``. True as above."""
        if stream.id in self._open:
            return False
        self._going_on.discard(stream)
        stream.forget()
        return True

    def break_off(self, stream_id: int) -> None:
        """Nothing more can be sent on that stream, and nothing comes."""
        stream = self._open.get(stream_id)
        if stream is not None:
            self.drop_waiting(stream)
            stream.inlet.stop_waiting()
            stream.on_lost()

    # What happens to all of them.

    def in_progress(self) -> list["Http2Answer"]:
        """What the client is still waiting for."""
        answers = [stream.answer for stream in self.busy if stream.in_progress]
        return [answer for answer in answers if answer is not None]

    def on_cancelled(self, reason: str) -> None:
        """The nursery of the connection is cancelled. Name in the log what is still running."""
        for stream in self.busy:
            stream.on_cancelled(reason)

    def drain(self) -> None:
        """The server stops."""
        for stream in self:
            if stream.answer is not None and stream.answer.in_progress:
                stream.answer.drain()

    def on_client_left(self) -> None:
        """It has finished sending. It may take what waits for the network; what waits for a window has been reset."""
        for stream in tuple(self._open.values()):
            stream.on_left()

    def reset_cut(self) -> None:
        """Those whose answers have no end, whether all that was sent of them has left or not."""
        for stream in self:
            stream.reset_if_cut()

    def lose(self) -> None:
        """Whatever their applications do, no answer leaves any more, and those that wait need not begin."""
        for stream in self:
            self.drop_waiting(stream)
            if not stream.lost:
                stream.on_lost()
