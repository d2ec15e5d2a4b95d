"""The sending side of an HTTP/2 connection: what its streams have to say leaves together, as the client takes it."""

from collections.abc import Callable
from typing import Final, Protocol

from trioserve._asgi.http2_response import Http2Response
from trioserve._connection.patience import Patience
from trioserve._protocol.http2.codec import Http2Codec
from trioserve._protocol.http2.frames import whole_frames
from trioserve._streams import AT_ONCE_BYTES, ByteStream

__all__ = ["Sender", "Waiting"]

FLUSH_BYTES: Final = 256 * 1024  # that leave the engine at once; what the network does not take stays with the streams
# Frames of a client that are the answer to what was sent, and therefore free: WINDOW_UPDATE.
BYTES_PER_FRAME: Final = 1024  # of a body
FRAMES_PER_PART: Final = 2  # of a body, however small: one for its stream, one for the connection


class Waiting(Protocol):
    """A stream with something to send."""

    id: int

    def on_sent(self, unsent: int) -> None:
        """So many bytes of its body wait for their turn, for a window, or for the network."""


class Streams(Protocol):
    """All of the connection."""

    @property
    def open_count(self) -> int: ...

    def break_off(self, stream_id: int) -> None:
        """The engine has reset that stream."""


class Sender:
    """Moves responses into the engine, and bytes from there to the network; it is the observer of the stream below.

    Attributes:
        collects: a turn of the connection is in progress, and its end will flush.
        has_stopped: the engine has had its last word, and is not asked any more.
    """

    __slots__ = (
        "_codec", "_on_over", "_patience", "_stream", "_streams", "_unsent", "_waiting", "collects", "has_stopped",
        "sent_bytes",
    )  # fmt: skip

    def __init__(
        self, stream: ByteStream, codec: Http2Codec, patience: Patience, streams: Streams, on_over: Callable[[], None]
    ) -> None:  # fmt: skip
        self._stream = stream
        self._codec = codec
        self._patience = patience
        self._streams = streams
        self._on_over = on_over  # called when the engine has had its last word
        self._waiting: dict[int, Waiting] = {}
        self._unsent: dict[int, int] = {}  # bytes, when those that wait were told last
        self.collects = False
        self.has_stopped = False
        self.sent_bytes = 0  # so far: a sign of the client's progress

    def send(self, stream: Waiting, response: Http2Response, data: bytes) -> None:
        """Queue ``data``, and around it what ``response`` has to say. The stream is told what becomes of it."""
        engine, stream_id = self._codec.engine, stream.id
        if response.hints is not None:
            for hint in response.hints:
                engine.send_informational_response(stream_id, hint)
            response.hints = None
        ends_with_data = response.ends and not response.trailers
        head = response.response_head
        if head is not None:
            response.response_head = None
            engine.send_response(stream_id, head, end_stream=ends_with_data and not data)
        if data:
            engine.send_data(stream_id, data, end_stream=ends_with_data)
        elif ends_with_data and head is None:
            engine.end_stream(stream_id)
        if response.trailers:
            engine.send_trailers(stream_id, response.trailers)
        self._waiting[stream_id] = stream
        is_alone = response.ends and self._streams.open_count == 1
        if is_alone or len(data) >= AT_ONCE_BYTES:
            self.flush()  # the application may go on with other work
        else:
            self.flush_soon(expects_others=response.ends)

    def end(self, stream: Waiting, response: Http2Response) -> None:
        """Nothing follows."""
        response.ends = True
        self._codec.engine.end_stream(stream.id)
        self._waiting[stream.id] = stream
        self.flush_soon()

    def flush_soon(self, *, expects_others: bool = False) -> None:
        """Send it with what others of this turn have to say. ``expects_others``: that is worth waiting for."""
        if not self.collects and not self._stream.defers(self, expects_others=expects_others):
            self.flush()

    def uncork(self) -> None:
        """The turn is over."""
        self.flush()
        self._stream.uncork()

    def flush(self) -> None:
        """Hand to the network what it takes, and tell the streams what is left."""
        if self.has_stopped:
            return
        stream, engine = self._stream, self._codec.engine
        while not stream.congested and (data := whole_frames(engine.data_to_send, FLUSH_BYTES)):
            self.sent_bytes += len(data)
            self._codec.guard.control.give(len(data) // BYTES_PER_FRAME)
            stream.send_nowait(data)
            if len(data) < FLUSH_BYTES:
                break
        for stream_id in engine.broken_off:
            self._streams.break_off(stream_id)
        if self._waiting:
            self._tell()
        if engine.is_over:
            self.stop()
            self._on_over()

    def _tell(self) -> None:
        engine, unsent_before = self._codec.engine, self._unsent
        waiting, self._waiting, self._unsent = self._waiting, {}, {}
        parts = 0
        for stream_id, stream in waiting.items():
            unsent = engine.queued_body_size(stream_id)
            if unsent:
                self._waiting[stream_id] = stream
                self._unsent[stream_id] = unsent
                parts += unsent < unsent_before.get(stream_id, 0)
            else:
                parts += 1
            stream.on_sent(unsent)
        self._codec.guard.control.give(parts * FRAMES_PER_PART)

    def forget(self, stream: Waiting) -> None:
        """Nothing more will be sent on it."""
        self._waiting.pop(stream.id, None)

    def stop(self) -> None:
        """The connection has ended, or its engine is good for nothing."""
        self.has_stopped = True
        self._waiting = {}

    # What the stream below tells.

    def on_congested(self) -> None:
        self._patience.on_congested()

    def on_drained(self) -> None:
        self._patience.on_drained()
        if not self._stream.lost:
            self.flush()
