"""HTTP/2 by h2: the reference, in pure Python, that runs everywhere.

h2 sends what it is told to, at once. So what windows do not let through waits here, and whose turn it is to send is
decided here.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

from h2.config import H2Configuration
from h2.connection import AllowedStreamIDs, H2Connection
from h2.events import (
    DataReceived,
    Event,
    PingAckReceived,
    RemoteSettingsChanged,
    RequestReceived,
    StreamReset,
    TrailersReceived,
    UnknownFrameReceived,
)
from h2.exceptions import DenialOfServiceError, ProtocolError
from h2.settings import SettingCodes, Settings
from h2.stream import H2Stream
from hpack import Encoder
from hpack.exceptions import HPACKError
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame, PriorityFrame

from trioserve._errors import PeerError
from trioserve._protocol.http2.engine import EngineTerms, Http2Events
from trioserve._protocol.http2.frames import (
    COMPRESSION_ERROR,
    FRAME_SIZE_ERROR,
    HIGHEST_STREAM_ID,
    PROTOCOL_ERROR,
    Http2Error,
)
from trioserve._protocol.http2.head import check_trailers
from trioserve._types import Fields

__all__ = ["H2Engine"]

TABLE_BYTES: Final = 4096  # RFC 7541 §4.2, RFC 9113 §6.5.2
HUFFMAN_BYTES: Final = 2048  # of a value: 0.3 ms; 70 KB would be 200
DEFAULT_URGENCY: Final = 3  # RFC 9218 §4.1
NO_RFC7540_PRIORITIES: Final = 9  # RFC 9218 §2.1
PRIORITY_UPDATE: Final = 0x10  # RFC 9218 §7.1
STREAM_ID_BYTES: Final = 4
_URGENCY: Final = re.compile(rb"(?:^|[ ,])u=([0-7])(?=[ ,;]|$)")
_INCREMENTAL: Final = re.compile(rb"(?:^|[ ,])i(?:=\?1)?(?=[ ,;]|$)")


class _Queue:
    """What a stream has to send."""

    __slots__ = ("data", "ends", "size", "trailers")

    def __init__(self) -> None:
        self.data: list[memoryview] = []
        self.size = 0
        self.ends = False
        self.trailers: list[tuple[bytes, bytes]] | None = None

    def take(self, amount: int) -> bytes:
        """At most ``amount`` bytes, but some if there are any."""
        part = self.data[0][:amount]
        if len(part) == len(self.data[0]):
            del self.data[0]
        else:
            self.data[0] = self.data[0][amount:]
        self.size -= len(part)
        return bytes(part)


class _Encoder(Encoder):
    """Its table of fields is what a connection begins with at most, though a client allows four gigabytes."""

    def encode(self, headers: Any, huffman: bool = True) -> bytes:
        """Without Huffman's code when that would take long: the time grows with the square of a value's length."""
        fields: Fields = list(headers)
        return super().encode(fields, huffman and all(len(value) <= HUFFMAN_BYTES for _, value in fields))

    @property
    def header_table_size(self) -> int:
        return int(self.header_table.maxsize)

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        Encoder.header_table_size.fset(self, min(value, TABLE_BYTES))  # type: ignore[attr-defined]  # a property


class _Connection(H2Connection):
    last_stream_id = HIGHEST_STREAM_ID  # that a GOAWAY may still name
    has_been_left = False  # the client has sent one

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        """The client will send no more requests. h2 takes it for the end of all streams (RFC 9113 §6.8)."""
        if frame.last_stream_id % 2 or frame.last_stream_id > self.last_stream_id:
            raise ProtocolError("a GOAWAY that names a stream of the client's own, or one it has excluded")
        self.last_stream_id = frame.last_stream_id
        self.has_been_left = True
        return [], []

    def _receive_priority_frame(self, frame: HeadersFrame | PriorityFrame) -> tuple[list[Frame], list[Event]]:
        """What it says is not heeded any more, and can be no error (RFC 9113 §5.3.2)."""
        frame.depends_on = 0
        return super()._receive_priority_frame(frame)

    def _begin_new_stream(self, stream_id: int, allowed_ids: AllowedStreamIDs) -> H2Stream:
        """A body of another length than its head says would be the end of the connection. It is noticed outside."""
        stream = super()._begin_new_stream(stream_id, allowed_ids)
        stream._initialize_content_length = _expect_any_length  # type: ignore[method-assign]  # of this stream only
        return stream


def _expect_any_length(headers: object) -> None:
    """In the place of a method that makes a stream expect what its fields say."""


class H2Engine:
    """Fields are not checked here, neither those that come nor those that are sent: both are checked outside."""

    name = "h2"

    broken_off = ()  # it resets nothing but what it tells of at once

    __slots__ = ("_connection", "_priorities", "_queues", "has_failed")

    def __init__(self, terms: EngineTerms) -> None:
        connection = _Connection(
            H2Configuration(
                client_side=False,
                header_encoding=None,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        known = {code: terms.settings[code] for code in SettingCodes if code in terms.settings}
        connection.encoder = _Encoder()
        connection.local_settings = Settings(client=False, initial_values=known)
        connection.decoder.max_header_list_size = terms.head_bytes
        connection.initiate_connection()
        connection.increment_flow_control_window(terms.connection_window - connection.inbound_flow_control_window)
        connection.clear_outbound_data_buffer()  # the client has been told otherwise
        self._connection = connection
        self.has_failed = False
        self._queues: dict[int, _Queue] = {}  # who has something to send, and waits; who has waited longest first
        self._priorities: dict[int, tuple[int, bool]] = {}  # of those streams whose clients have said something

    @property
    def is_over(self) -> bool:
        return self._connection.has_been_left and not self._connection.open_inbound_streams

    @property
    def table_bytes(self) -> int:
        return min(self._connection.remote_settings.header_table_size, TABLE_BYTES)

    # What has come.

    def receive_data(self, data: bytes, events: Http2Events) -> None:
        try:
            told = self._connection.receive_data(data)
        except ProtocolError as exc:  # what came before in ``data`` is not answered any more
            self.has_failed = True  # it would say GOAWAY itself, not always with the right code
            is_hpack = isinstance(exc.__cause__, HPACKError) and not isinstance(exc, DenialOfServiceError)
            raise Http2Error(COMPRESSION_ERROR if is_hpack else exc.error_code, str(exc)) from exc
        gone = {event.stream_id for event in told if isinstance(event, StreamReset)}
        for event in told:
            if not (isinstance(event, RequestReceived) and event.stream_id in gone):
                self._tell(event, events)

    def _tell(self, event: Event, events: Http2Events) -> None:
        if isinstance(event, RequestReceived):
            fields: Fields = [(name, value) for name, value in event.headers]
            self._note_priority(event.stream_id, fields)
            events.on_request(event.stream_id, fields, event.stream_ended is not None)
        elif isinstance(event, DataReceived):
            padding = event.flow_controlled_length - len(event.data)
            if padding:
                self._connection.acknowledge_received_data(padding, event.stream_id)
            events.on_body(event.stream_id, event.data, event.stream_ended is not None)
        elif isinstance(event, TrailersReceived):
            try:
                check_trailers(event.headers)
            except PeerError:  # RFC 9113 §8.1
                self.reset_stream(event.stream_id, PROTOCOL_ERROR)
                events.on_reset(event.stream_id, provoked=True)
            else:
                events.on_body(event.stream_id, b"", True)
        elif isinstance(event, StreamReset):
            self._forget(event.stream_id)
            events.on_reset(event.stream_id, provoked=not event.remote_reset)
        elif isinstance(event, PingAckReceived):
            events.on_pong()
        elif isinstance(event, RemoteSettingsChanged):
            old_priorities = event.changed_settings.get(NO_RFC7540_PRIORITIES)
            if old_priorities is not None and old_priorities.new_value not in (0, 1):
                raise Http2Error(PROTOCOL_ERROR, "a setting that is neither 0 nor 1")  # RFC 9218 §2.1
        elif isinstance(event, UnknownFrameReceived) and event.frame.type == PRIORITY_UPDATE:
            self._update_priority(event.frame)

    def acknowledge_received_data(self, amount: int, stream_id: int) -> None:
        self._connection.acknowledge_received_data(amount, stream_id)

    # What is sent.

    def data_to_send(self, amount: int) -> bytes:
        data = self._connection.data_to_send(amount)
        if not self._queues or len(data) >= amount:
            return data
        filled = len(data)
        while filled < amount and (stream_id := self._next_in_turn()) is not None:
            filled += self._send_some(stream_id, amount - filled)
        return data + self._connection.data_to_send(amount - len(data))

    def _next_in_turn(self) -> int | None:
        """Of those whose windows are open the most urgent ones, and of these who has waited longest (RFC 9218 §10)."""
        best: int | None = None
        best_urgency = 8
        for stream_id, queue in self._queues.items():
            urgency = self._priorities.get(stream_id, (DEFAULT_URGENCY, True))[0]
            if urgency < best_urgency and (not queue.size or self._window(stream_id) > 0):
                best, best_urgency = stream_id, urgency
        return best

    def _window(self, stream_id: int) -> int:
        return self._connection.local_flow_control_window(stream_id)

    def _send_some(self, stream_id: int, amount: int) -> int:
        queue, connection = self._queues[stream_id], self._connection
        sent = 0
        if queue.size:
            data = queue.take(min(amount, self._window(stream_id), connection.max_outbound_frame_size))
            sent = len(data)
            connection.send_data(stream_id, data, end_stream=self._ends_with_data(queue))
        if not queue.size:
            del self._queues[stream_id]
            self._finish(stream_id, queue, has_said_end=bool(sent) and self._ends_with_data(queue))
        elif self._priorities.get(stream_id, (0, True))[1]:
            self._queues[stream_id] = self._queues.pop(stream_id)
        return sent

    def _ends_with_data(self, queue: _Queue) -> bool:
        return not queue.size and queue.ends and queue.trailers is None

    def _finish(self, stream_id: int, queue: _Queue, *, has_said_end: bool) -> None:
        if queue.trailers is not None:
            self._connection.send_headers(stream_id, queue.trailers, end_stream=True)
        elif queue.ends and not has_said_end:
            self._connection.end_stream(stream_id)
        if queue.ends:
            self._priorities.pop(stream_id, None)

    def send_informational_response(self, stream_id: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._connection.send_headers(stream_id, headers)

    def send_response(
        self, stream_id: int, headers: Iterable[tuple[bytes, bytes]], *, end_stream: bool = False
    ) -> None:
        self._connection.send_headers(stream_id, headers, end_stream=end_stream)
        if end_stream:
            self._priorities.pop(stream_id, None)

    def send_data(self, stream_id: int, data: bytes, *, end_stream: bool = False) -> None:
        queue = self._queue(stream_id)
        if data:
            queue.data.append(memoryview(data))
            queue.size += len(data)
        queue.ends = end_stream

    def end_stream(self, stream_id: int) -> None:
        self._queue(stream_id).ends = True

    def send_trailers(self, stream_id: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        queue = self._queue(stream_id)
        queue.trailers, queue.ends = list(headers), True

    def _queue(self, stream_id: int) -> _Queue:
        return self._queues.setdefault(stream_id, _Queue())

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        self._forget(stream_id)
        stream = self._connection.streams.get(stream_id)
        if stream is not None and not stream.closed:
            self._connection.reset_stream(stream_id, error_code)

    def _forget(self, stream_id: int) -> None:
        self._queues.pop(stream_id, None)
        self._priorities.pop(stream_id, None)

    def queued_body_size(self, stream_id: int) -> int:
        queue = self._queues.get(stream_id)
        return queue.size if queue is not None else 0

    def stream_remote_window_size(self, stream_id: int) -> int:
        stream = self._connection.streams.get(stream_id)
        return stream.outbound_flow_control_window if stream is not None else 0

    def holds(self, stream_id: int) -> bool:
        stream = self._connection.streams.get(stream_id)
        return stream is not None and not stream.closed

    # Priorities.

    def _note_priority(self, stream_id: int, fields: Fields) -> None:
        for name, value in fields:
            if name == b"priority":
                self._priorities[stream_id] = _parse_priority(value)

    def _update_priority(self, frame: Frame) -> None:
        """Of an open stream; what comes before its request is not remembered. Raises Http2Error (RFC 9218 §7.1)."""
        payload: bytes = getattr(frame, "body", b"")
        stream_id = int.from_bytes(payload[:4], "big")
        if len(payload) < STREAM_ID_BYTES:
            raise Http2Error(FRAME_SIZE_ERROR, "a priority without a stream")
        if frame.stream_id or stream_id % 2 == 0:
            raise Http2Error(PROTOCOL_ERROR, "a priority that comes on a stream, or is of none of the client's")
        if stream_id in self._connection.streams:
            self._priorities[stream_id] = _parse_priority(payload[4:])

    def share(self, stream_id: int) -> None:
        """Streams whose clients have said nothing do so anyway."""


def _parse_priority(value: bytes) -> tuple[int, bool]:
    """Urgency, and whether parts are of use by themselves (RFC 9218 §4)."""
    urgency = _URGENCY.search(value)
    return int(urgency[1]) if urgency else DEFAULT_URGENCY, _INCREMENTAL.search(value) is not None
