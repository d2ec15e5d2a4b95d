"""What has come on an HTTP/2 connection, as its engine tells it: requests, their bodies, and streams that broke off."""

import logging
from typing import TYPE_CHECKING, Protocol

from trioserve._asgi.http2_response import Http2Response, bare_head
from trioserve._complaints import complain
from trioserve._connection.exchange import Exchange
from trioserve._connection.http2.body import Http2Inlet
from trioserve._connection.http2.goodbye import Goodbye
from trioserve._connection.http2.stream import Carrier, Http2Stream
from trioserve._connection.http2.streams import Http2Streams
from trioserve._connection.http2_terms import Http2Terms
from trioserve._connection.refused import Refused
from trioserve._errors import PeerError
from trioserve._protocol import Meaning, RequestHead
from trioserve._protocol.http2.frames import PROTOCOL_ERROR, REFUSED_STREAM, FieldSectionTooLarge
from trioserve._types import Fields

if TYPE_CHECKING:
    from trioserve._connection.http2.stream import Http2Answer

__all__ = ["Reception"]

log = logging.getLogger("trioserve")


class Host(Carrier, Protocol):
    """The connection, as its reception sees it."""

    def leave_soon(self) -> None:
        """It has taken as many requests as it may: the client is told to take further ones elsewhere."""


class Reception:
    """Of one connection. What can be taken waits in ``streams``; what cannot is refused or reset here.

    It meets ``Http2Events``.
    """

    __slots__ = ("_codec", "_connection", "_ctx", "_goodbye", "_streams", "_terms")

    def __init__(self, connection: Host, streams: Http2Streams, goodbye: Goodbye, terms: Http2Terms) -> None:
        self._connection = connection
        self._ctx = connection.ctx
        self._codec = connection.codec
        self._streams = streams
        self._goodbye = goodbye
        self._terms = terms

    # Requests.

    def on_request(self, stream_id: int, fields: Fields, ends: bool) -> None:
        is_one_too_many = self._streams.open_count >= self._terms.max_streams and not self._streams.make_room()
        if self._goodbye.refuses(stream_id) or is_one_too_many:
            self._ctx.lifetime.strike("limit_http2_streams" if is_one_too_many else "")
            self._reset(stream_id, REFUSED_STREAM)
            return
        self._goodbye.take(stream_id)
        if self._goodbye.requests == self._ctx.requests_per_connection:
            self._connection.leave_soon()
        stream = Http2Stream(stream_id, self._connection)
        try:
            head = self._codec.heads.read(fields, ends=ends)
        except PeerError as exc:
            self._refuse(stream, fields, exc, ends=ends)
            return
        if not ends:
            stream.expect_body(head, self._terms.limits.body)
        stream.response = response = Http2Response(head, self._terms.standing_fields)
        stream.answer = self._new_answer(head, response, stream)
        self._streams.add(stream)
        self._streams.waiting.append(stream)

    def _new_answer(self, head: RequestHead, response: Http2Response, stream: Http2Stream) -> "Http2Answer":
        if head.meaning.offers_websocket and self._ctx.websockets is not None:
            # wsproto brings h11 along: a quarter of a server's start, which most servers never need.
            from trioserve._connection.websocket.session import WebSocket

            return WebSocket(head, response, stream, stream, self._ctx.websockets)
        return Exchange(head, response, stream, stream.inlet, stream)

    def _refuse(self, stream: Http2Stream, fields: Fields, refusal: PeerError, *, ends: bool) -> None:
        """What is no request is reset (RFC 9113 §8.1.1); one that is too large, or for something else, is told so."""
        if refusal.status == 400:
            self._complain(refusal)
            self._reset(stream.id, PROTOCOL_ERROR)
        else:
            head = RequestHead("", b"", "", b"", b"", [], Meaning("2", True, None, False, False))
            if not ends:
                stream.expect_body(head, self._terms.limits.body)
            stream.response = Http2Response(head, self._terms.standing_fields)
            stream.is_running = False
            self._streams.add(stream)
            stream.answer_refusal(refusal, with_body=(b":method", b"HEAD") not in fields)
        self._note_refused(fields, refusal)

    def refuse_unread(self, refusal: FieldSectionTooLarge) -> None:
        """Answer the last request past the engine, which has not seen it."""
        self._complain(refusal)
        head = bare_head(refusal.status, self._terms.standing_fields)
        self._goodbye.refuse_last(refusal, head, self._codec.engine.table_bytes)
        self._note_refused([], refusal)

    def _note_refused(self, fields: Fields, refusal: PeerError) -> None:
        self._ctx.lifetime.strike(refusal.limit)
        if self._ctx.recorder is not None:
            self._ctx.recorder.refused(Refused.from_fields(fields, refusal, self._connection.stream.peer))

    # Streams that are open.

    def is_open(self, stream_id: int) -> bool:
        return self._streams.get(stream_id) is not None

    def is_answered(self, stream_id: int) -> bool:
        stream = self._streams.get(stream_id)
        return stream is not None and stream.is_answered

    def on_body(self, stream_id: int, data: bytes, ends: bool) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None and isinstance(stream.inlet, Http2Inlet):
            try:
                stream.inlet.feed(data, ends)
                if ends and stream.skips_body:
                    self._connection.on_stream_sent(stream)
            except PeerError as exc:
                self._complain(exc)
                stream.reset(PROTOCOL_ERROR)
                self._count_reset(stream_id)
        elif data:
            self._codec.engine.acknowledge_received_data(len(data), stream_id)

    def on_reset(self, stream_id: int, *, provoked: bool) -> None:
        self._streams.break_off(stream_id)
        if provoked:
            self._count_reset(stream_id)

    def on_pong(self) -> None:
        self._goodbye.on_pong()

    def _reset(self, stream_id: int, code: int) -> None:
        self._codec.engine.reset_stream(stream_id, code)
        self._count_reset(stream_id)

    def _count_reset(self, stream_id: int) -> None:
        self._codec.count_reset(stream_id, self._ctx.clock())

    def _complain(self, error: PeerError) -> None:
        complain(log, "%s: %s", self._connection.stream.peer, error, level=logging.DEBUG)
