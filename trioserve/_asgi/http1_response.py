"""The bytes of one response in HTTP/1.1: status line, field lines, framing, and whether the connection persists."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from trioserve._asgi.fields import Pair, field_lines
from trioserve._asgi.own_answers import Dated, PlainAnswer, error_answer
from trioserve._asgi.response import Response
from trioserve._asgi.states import BODY, COMPLETE, TRAILERS
from trioserve._errors import PeerError
from trioserve._protocol.events import RequestHead
from trioserve._protocol.reasons import REASON_PHRASES

if TYPE_CHECKING:
    from trioserve._protocol.websocket.handshake import Handshake

__all__ = ["Http1Response", "StandingFields", "error_response"]

_STATUS_LINES: Final = {
    status: f"HTTP/1.1 {status} {phrase}\r\n".encode() for status, phrase in REASON_PHRASES.items()
}

StandingFields: TypeAlias = Callable[[Dated], bytes]
"""The field lines that every response gets, and the empty line that ends the head."""


class Http1Response(Response):
    """A response to an HTTP/1.1 or HTTP/1.0 request.

    Attributes:
        keep_alive: the connection may carry another request after this response; final once the head is encoded.
    """

    __slots__ = ("_chunked", "_standing_fields", "keep_alive")

    def __init__(self, head: RequestHead, standing_fields: StandingFields) -> None:
        Response.__init__(self, head)  # super() costs 0.1 us
        self._standing_fields = standing_fields
        self._chunked = False
        self.keep_alive = head.meaning.keep_alive

    @property
    def cut_is_visible(self) -> bool:
        return self._chunked or self._body_left is not None

    def end_if_whole(self) -> bool:
        if self.state in (BODY, TRAILERS):  # who does not end what it has begun has no business with the next request
            self.keep_alive = False
        return super().end_if_whole()

    def _encode_head(self, status: int, fields: list[Pair]) -> bytes:
        lines = field_lines(fields)
        return (_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status) + lines  # RFC 9112 §4: without a phrase

    def _encode_body(self, data: bytes, is_first: bool, pieces: list[bytes]) -> None:
        if is_first:
            if self._says_close:
                self.keep_alive = False
            pieces.append(self._encoded_head)
            if self._body_left is None or not self.keep_alive or self._head.meaning.http_version == "1.0":
                pieces.append(self._framing(len(data)))
            pieces.append(self._standing_fields(self))
        if not self._chunked:
            if data:
                pieces.append(data)
            return
        if data:
            pieces += (b"%x\r\n" % len(data), data, b"\r\n")
        if self.state == COMPLETE:
            pieces.append(b"0\r\n\r\n")

    def _framing(self, first_body_bytes: int) -> bytes:
        """How the client will know where the body ends, and whether the connection does too (RFC 9112 §6.3, §9.3)."""
        lines = b""
        if self._body_left is not None or not self._send_body:
            pass  # the application's content-length says it, or the status and method do
        elif self.state == COMPLETE:
            lines = b"content-length: %d\r\n" % first_body_bytes
        elif self._head.meaning.http_version == "1.1":
            self._chunked = True
            lines = b"transfer-encoding: chunked\r\n"
        else:
            self.keep_alive = False  # HTTP/1.0: the end of the connection is the end of the body
        if not self.keep_alive:
            return lines + b"connection: close\r\n"
        if self._head.meaning.http_version == "1.0":
            return lines + b"connection: keep-alive\r\n"
        return lines

    def _encode_parts(self, parts: list[bytes], size: int, pieces: list[bytes]) -> int:
        """Parts that leave together are one chunk: its boundaries mean nothing (RFC 9112 §7.1)."""
        if not self._chunked:
            pieces += parts
            return size
        if not size:
            return 0
        line = b"%x\r\n" % size
        pieces.append(line)
        pieces += parts
        pieces.append(b"\r\n")
        return len(line) + size + 2

    def _encode_trailers(self, fields: list[Pair], pieces: list[bytes]) -> None:
        if self._chunked:
            pieces.append(b"0\r\n" + field_lines(fields) + b"\r\n")

    def _encode_hint(self, fields: list[Pair], pieces: list[bytes]) -> None:
        if self._head.meaning.http_version == "1.1":  # HTTP/1.0 has no interim responses
            pieces.append(_STATUS_LINES[103] + field_lines(fields) + b"\r\n")

    def _encode_accept(self, handshake: "Handshake", pieces: list[bytes]) -> None:
        """RFC 6455 §4.2.2, RFC 9110 §15.2.2."""
        self.status = 101
        pieces += (
            _STATUS_LINES[101], b"upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ",
            handshake.accept_key, b"\r\n", field_lines(self.fields), self._standing_fields(self),
        )  # fmt: skip


def error_response(refusal: PeerError, standing_fields: StandingFields, *, with_body: bool = True) -> bytes:
    """A whole plain text answer that ends the connection."""
    fields, body = error_answer(refusal)
    lines = field_lines([*fields, (b"connection", b"close")])
    head = _STATUS_LINES[refusal.status] + lines + standing_fields(PlainAnswer())
    return head + body if with_body else head
