"""HTTP/2 by ngh2, which is libnghttp2: the fast engine."""

from collections.abc import Iterable
from typing import Any, Final

import ngh2

from trioserve._protocol.http2.engine import EngineTerms, Http2Events
from trioserve._protocol.http2.frames import (
    ENHANCE_YOUR_CALM,
    NO_ERROR,
    PROTOCOL_ERROR,
    Http2Error,
    end_stream_frame,
    last_fields_frames,
)
from trioserve._protocol.http2.guard import CONTINUATIONS
from trioserve._types import Fields

__all__ = ["Ngh2Engine"]

_OURS: Final = (2**32 - 1, 2**32 - 1)  # as good as no limit: rates are judged before the engine sees anything
_ANY_HEAD: Final = 2**31 - 1  # bytes of a response's; how much to take is the client's business
_SHARED: Final = ngh2.Priority(urgency=3, incremental=True)  # the default urgency (RFC 9218 §4.1)
_UNSIGNALLED: Final = ngh2.Priority()
_TABLE_SIZE: Final = 1  # SETTINGS_HEADER_TABLE_SIZE (RFC 9113 §6.5.2)
_TABLE_BYTES: Final = 4096  # that libnghttp2 uses of it at most


class Ngh2Engine:
    """The methods of the library's connection are lent as they are: a call of ours around each would cost 0.1 us."""

    name = "ngh2"

    __slots__ = (
        "_connection", "_endings", "_reset", "acknowledge_received_data", "broken_off", "has_failed",
        "queued_body_size", "send_data", "send_informational_response", "send_response", "stream_remote_window_size",
    )  # fmt: skip

    def __init__(self, terms: EngineTerms) -> None:
        connection = ngh2.Connection(
            ngh2.Role.SERVER,
            ngh2.Configuration(
                auto_window_update=False,
                max_outbound_ack=100_000,
                max_send_header_block_length=_ANY_HEAD,
                stream_reset_rate_limit=_OURS,
                glitch_rate_limit=_OURS,
                max_continuations=CONTINUATIONS,
                max_inbound_header_list_size=terms.head_bytes,
                max_inbound_header_count=terms.head_bytes // 32,
            ),
        )
        connection.initiate_connection(terms.settings)
        connection.set_local_window_size(terms.connection_window)
        connection.data_to_send()  # the client has been told otherwise
        self._connection = connection
        self.has_failed = False
        self._reset: set[int] = set()  # streams whose end is no news
        self.broken_off: list[int] = []
        self._endings: dict[int, Fields] = {}  # trailers, or none, of streams that end when their bodies have been sent
        self.send_informational_response = connection.send_informational_response
        self.send_response = connection.send_response
        self.send_data = connection.send_data
        self.acknowledge_received_data = connection.acknowledge_received_data
        self.queued_body_size = connection.queued_body_size
        self.stream_remote_window_size = connection.stream_remote_window_size

    def receive_data(self, data: bytes, events: Http2Events) -> None:
        connection = self._connection
        try:
            connection.receive_data(data)
        except ngh2.NGH2Error as exc:
            self.has_failed = True
            is_too_much = isinstance(exc, ngh2.DenialOfServiceError)
            raise Http2Error(ENHANCE_YOUR_CALM if is_too_much else PROTOCOL_ERROR, str(exc)) from exc
        told: list[Any] = connection.events()  # a chain of isinstance would cost 0.1 us for each
        gone = {event.stream_id for event in told if type(event) is ngh2.StreamReset}
        for event in told:
            kind = type(event)
            if kind is ngh2.RequestReceived:
                if event.stream_id not in gone:
                    events.on_request(event.stream_id, event.headers, event.end_stream)
            elif kind is ngh2.DataReceived:
                if event.stream_id not in self._reset:  # by us, just now: then it has been acknowledged
                    events.on_body(event.stream_id, event.data, event.end_stream)
            elif kind is ngh2.TrailersReceived:
                events.on_body(event.stream_id, b"", True)
            elif kind is ngh2.StreamReset:
                self._reset.add(event.stream_id)
                self._endings.pop(event.stream_id, None)
                events.on_reset(event.stream_id, provoked=False)
            elif kind is ngh2.StreamClosed:
                self._note_closed(event)
            elif kind is ngh2.PingAcknowledged:
                events.on_pong()
            elif kind is ngh2.PriorityUpdateReceived and not event.prioritized_stream_id:
                raise Http2Error(PROTOCOL_ERROR, "a priority of stream 0, which is the connection's")  # RFC 9218 §7.1
        broken_off, self.broken_off = self.broken_off, []
        for stream_id in broken_off:
            events.on_reset(stream_id, provoked=True)

    def _note_closed(self, event: Any) -> None:
        self._endings.pop(event.stream_id, None)
        if event.stream_id in self._reset:
            self._reset.discard(event.stream_id)
        elif event.error_code:
            self.broken_off.append(event.stream_id)

    @property
    def is_over(self) -> bool:
        return not self.has_failed and not self._connection.want_read

    @property
    def table_bytes(self) -> int:
        return min(self._connection.remote_settings.get(_TABLE_SIZE, _TABLE_BYTES), _TABLE_BYTES)

    def send_trailers(self, stream_id: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._endings[stream_id] = list(headers)

    def end_stream(self, stream_id: int) -> None:
        if self._connection.queued_body_size(stream_id):
            self._connection.end_stream(stream_id)  # the last part of the body says so
        else:
            self._endings[stream_id] = []

    def data_to_send(self, amount: int) -> bytes:
        data = self._take_out(amount)
        for event in self._connection.events():  # a stream ends when its last frame, or its reset, is taken out
            if type(event) is ngh2.StreamClosed:
                self._note_closed(event)
        return data

    def _take_out(self, amount: int) -> bytes:
        data = self._connection.data_to_send(amount)
        if self._endings and len(data) < amount and not self.is_over:
            for stream_id in [each for each in self._endings if not self._connection.queued_body_size(each)]:
                data += self._end(stream_id, self._endings.pop(stream_id))
            data += self._connection.data_to_send(amount)
        return data

    def _end(self, stream_id: int, trailers: Fields) -> bytes:
        """With a shut window libnghttp2 waits, although the end needs none (RFC 9113 §6.9.1): then we say it."""
        connection = self._connection
        if connection.stream_remote_window_size(stream_id) <= 0 or connection.remote_window_size <= 0:
            self.reset_stream(stream_id, NO_ERROR)  # so that libnghttp2 knows; the client may ignore it (§8.1)
            if not trailers:
                return end_stream_frame(stream_id)
            return last_fields_frames(stream_id, trailers, self.table_bytes)
        if trailers:
            connection.send_trailers(stream_id, trailers)
        else:
            connection.end_stream(stream_id)
        return b""

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        self._reset.add(stream_id)
        self._endings.pop(stream_id, None)
        if not self.is_over:
            self._connection.reset_stream(stream_id, error_code)

    def holds(self, stream_id: int) -> bool:
        try:
            self._connection.get_stream_priority(stream_id)
        except ngh2.StreamUnavailableError:
            return False
        return True

    def share(self, stream_id: int) -> None:
        if not self.is_over and self._connection.get_stream_priority(stream_id) == _UNSIGNALLED:
            self._connection.set_stream_priority(stream_id, _SHARED)
