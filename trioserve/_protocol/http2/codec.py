"""One HTTP/2 connection: an engine for its frames, and around it what exists once (RFC 9113)."""

from collections import deque
from typing import Final

from trioserve._protocol.http1.codec import Http1Limits
from trioserve._protocol.http2.engine import EngineTerms, Http2Events, NewEngine
from trioserve._protocol.http2.frames import (
    ENHANCE_YOUR_CALM,
    STREAM_CLOSED,
    FieldSectionTooLarge,
    Http2Error,
    settings_frame,
    window_update_frame,
)
from trioserve._protocol.http2.guard import Allowance, FrameGuard
from trioserve._protocol.http2.head import HeadReader

__all__ = ["STREAM_WINDOW_BYTES", "Http2Codec"]

# RFC 9113 §6.5.2, RFC 8441 §3, RFC 9218 §2.1
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_HEADER_LIST_SIZE = 3, 4, 6
ENABLE_CONNECT_PROTOCOL, NO_RFC7540_PRIORITIES = 8, 9

STREAM_WINDOW_BYTES: Final = 256 * 1024  # of one body that nobody takes; 2 MB/s over 100 ms of network
CONNECTION_WINDOW_BYTES: Final = 2 * 1024 * 1024  # of all bodies: what one client may have us keep
DEFAULT_WINDOW_BYTES: Final = 65535  # RFC 9113 §6.9.2
RESET_STREAMS: Final = 256  # that are remembered, because a client may still send on them
TOO_MANY: Final = 10_000  # streams too many: the engine admits them, so that they can be refused


class Http2Codec:
    """Feed it with ``receive_data``; send ``opening`` first, then what ``engine`` has to send.

    Attributes:
        opening: the server's preface (RFC 9113 §3.4), and the window of the connection.
        engine: for all that is said on a stream.
        heads: reads the fields of requests.
        guard: looks at frames first, and counts streams that were reset.
    """

    __slots__ = ("_held", "_reset", "engine", "guard", "heads", "opening")

    def __init__(
        self, new_engine: NewEngine, limits: Http1Limits, *, max_streams: int, tunnels: bool, resets: Allowance,
        control: Allowance,
    ) -> None:  # fmt: skip
        settings = {
            MAX_CONCURRENT_STREAMS: max_streams,
            INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
            MAX_HEADER_LIST_SIZE: limits.head,
            NO_RFC7540_PRIORITIES: 1,
        }
        if tunnels:
            settings[ENABLE_CONNECT_PROTOCOL] = 1
        self.opening = settings_frame(settings) + window_update_frame(CONNECTION_WINDOW_BYTES - DEFAULT_WINDOW_BYTES)
        admitted = settings | {MAX_CONCURRENT_STREAMS: max_streams + TOO_MANY}
        self.engine = new_engine(EngineTerms(admitted, CONNECTION_WINDOW_BYTES, head_bytes=2 * limits.head))
        self._reset: deque[int] = deque(maxlen=RESET_STREAMS)
        self.heads = HeadReader(limits, tunnels=tunnels)
        self.guard = FrameGuard(limits.head, resets, control)
        self._held = b""  # of a field section that is not complete

    def receive_data(self, data: bytes, now: float, events: Http2Events) -> None:
        """Take bytes from the wire at ``now``, in the seconds of the allowances, and tell what is in them.

        Raises:
            Http2Error: the connection is only good for a GOAWAY.
            FieldSectionTooLarge: nothing more can be taken; what came before it can still be answered.
        """
        try:
            data = self.guard.look_at(data, now, events)
        except FieldSectionTooLarge:
            self._give(self._whole(data), events)
            raise
        if self._held or self.guard.sections.is_open:
            data = self._whole(data)
        self._give(data, events)

    def _give(self, data: bytes, events: Http2Events) -> None:
        if self.guard.sections.known:
            self._check_known(events)
        self.engine.receive_data(data, events)

    def _whole(self, data: bytes) -> bytes:
        """Hold back a field section that is not complete: it may turn out to be too large for the engine."""
        at = len(data)
        if self.guard.sections.is_open:
            if self.guard.section_at is None:
                self._held += data
                return b""
            at = self.guard.section_at
        whole, self._held = self._held + data[:at], data[at:]
        return whole

    def _check_known(self, events: Http2Events) -> None:
        """A stream that was closed takes no fields (RFC 9113 §5.1). libnghttp2 ignores what comes on one.

        What libnghttp2 finds malformed was never a request. The stream closes when its reset leaves.
        """
        for stream_id in self.guard.sections.known:
            was_reset = stream_id in self._reset or stream_id in self.engine.broken_off
            if not (was_reset or events.is_open(stream_id) or self.engine.holds(stream_id)):
                raise Http2Error(STREAM_CLOSED, "fields on a closed stream")
        self.guard.sections.known.clear()

    def reset_stream(self, stream_id: int, code: int) -> None:
        """The client may not have heard of it when it sends something on the stream."""
        self._reset.append(stream_id)
        self.engine.reset_stream(stream_id, code)

    def count_reset(self, stream_id: int, now: float) -> None:
        """A stream ended before its time, and it was not the client that reset it. Raises Http2Error."""
        self._reset.append(stream_id)
        if not self.guard.resets.take(1, now):
            raise Http2Error(ENHANCE_YOUR_CALM, "too many streams had to be reset", limit="limit_http2_resets")
