"""The response side of one HTTP request: ASGI messages in, bytes out, each rule checked (ASGI HTTP 2.5; RFC 9112).

Pure: it neither waits nor sends. The caller sends the pieces that ``encode`` appends.
"""

from collections.abc import Callable, Iterable
from enum import IntEnum
from http import HTTPStatus
from typing import Any, Final

from trioserve._asgi.fields import ResponseFields
from trioserve._errors import AppError
from trioserve._protocol.events import RequestHead
from trioserve._types import Message

__all__ = ["HttpResponse", "State", "error_response"]


class State(IntEnum):
    """How far a response is, in order. Each state names what it waits for."""

    START = 0
    FIRST_BODY = 1
    BODY = 2
    TRAILERS = 3
    COMPLETE = 4


# Plain names and plain integers on the hot path: an enum member costs a look-up of 50 ns each time.
START, FIRST_BODY, BODY, TRAILERS, COMPLETE = map(int, State)
_EXPECTED: Final = (
    "http.response.start", "http.response.body", "http.response.body", "http.response.trailers", "nothing more",
)  # fmt: skip
_KNOWN_TYPES: Final = (*_EXPECTED[:4], "http.response.early_hint")
_NO_TRAILERS: Final = frozenset(  # what must be known before the body, or be trusted (RFC 9110 §6.5.1)
    (b"transfer-encoding", b"connection", b"trailer", b"host", b"date", b"server", b"set-cookie", b"authorization",
     b"content-encoding", b"content-type", b"content-range", b"cache-control", b"expect", b"te", b"vary")
)  # fmt: skip
_BODILESS: Final = (204, 304)  # RFC 9110 §15.3.5, §15.4.5; 1xx is refused as a final status


class HttpResponse:
    """Turns the application's messages into the bytes of one response.

    The head is held back until the first body message, so that an application that fails in between still gets a
    500, and head and body leave in one piece.

    Attributes:
        state: what is awaited next.
        status: of the response, 0 before ``http.response.start``.
        body_bytes: body bytes encoded so far, without framing.
        keep_alive: the connection may carry another request after this response; final once the head is encoded.
    """

    __slots__ = (
        "_body_left", "_chunked", "_fields", "_head", "_send_body", "_standing_fields", "_trailer_text",
        "_wants_trailers", "body_bytes", "keep_alive", "state", "status",
    )  # fmt: skip

    def __init__(self, head: RequestHead, standing_fields: Callable[[ResponseFields], bytes]) -> None:
        self._head = head
        self._standing_fields = standing_fields
        self.keep_alive = head.keep_alive
        self.state: int = START
        self.status = 0
        self.body_bytes = 0
        self._chunked = False
        self._send_body = True
        self._body_left: int | None = None  # of a declared content-length
        self._wants_trailers = False

    def encode(self, message: Message, pieces: list[bytes]) -> None:
        """Check ``message`` and append what it puts on the wire to ``pieces``.

        Raises:
            AppError: the message is not allowed here, or malformed; nothing was appended.
        """
        try:
            kind = message["type"]
        except (TypeError, KeyError, IndexError):
            raise AppError(f"send() takes a dict with a 'type', not {message!r:.100}") from None
        state = self.state
        if kind == "http.response.body" and FIRST_BODY <= state <= BODY:
            self._encode_body(message, pieces)
        elif kind == "http.response.start" and state == START:
            self._start(message)
        elif kind == "http.response.early_hint" and state <= FIRST_BODY:
            self._encode_early_hint(message, pieces)
        elif kind == "http.response.trailers" and state == TRAILERS:
            self._encode_trailers(message, pieces)
        elif state <= BODY or kind not in _KNOWN_TYPES:  # after the end messages are ignored
            raise AppError(f"{kind!r} sent where {_EXPECTED[state]} is expected")

    def _start(self, message: Message) -> None:
        status = message.get("status")
        if not isinstance(status, int) or not 200 <= status <= 999:
            raise AppError(f"http.response.start with status {status!r}: a whole number from 200 to 999 is expected")
        self._fields = fields = ResponseFields(message.get("headers", ()))
        if message.get("trailers"):
            self._wants_trailers = True
            self._trailer_text = b""
        if status in _BODILESS or self._head.method == "HEAD":
            self._send_body = False
        elif not self._wants_trailers:
            self._body_left = fields.content_length
        self.status = status
        self.state = FIRST_BODY

    def _encode_body(self, message: Message, pieces: list[bytes]) -> None:
        data = message.get("body", b"")
        if type(data) is not bytes:
            data = _as_bytes(data)
        more = message.get("more_body", False)
        size = len(data)
        if self._body_left is not None:
            self._count_down(size, more)
        if self.state == FIRST_BODY:
            pieces.append(self._encode_head(size, more))
        if size and self._send_body:
            self.body_bytes += size
            if self._chunked:
                pieces += (b"%x\r\n" % size, data, b"\r\n")
            else:
                pieces.append(data)
        if not more:
            self.state = TRAILERS if self._wants_trailers else COMPLETE
            if self._chunked and not self._wants_trailers:
                pieces.append(b"0\r\n\r\n")

    def _count_down(self, size: int, more: bool) -> None:
        """Hold the application to its content-length (RFC 9112 §6.3: the client counts too)."""
        assert self._body_left is not None
        if size > self._body_left:
            raise AppError(f"response body is {size - self._body_left} bytes longer than its content-length")
        if not more and size < self._body_left:
            raise AppError(f"response body is {self._body_left - size} bytes shorter than its content-length")
        self._body_left -= size

    def _encode_head(self, first_body_bytes: int, more: bool) -> bytes:
        """Status line, the application's fields, framing, connection, and the server's standing fields."""
        fields = self._fields
        framing = self._frame(fields, first_body_bytes, more)
        if fields.says_close:
            self.keep_alive = False
        if not self.keep_alive:
            framing += b"connection: close\r\n"
        elif self._head.http_version == "1.0":
            framing += b"connection: keep-alive\r\n"
        self.state = BODY
        return b"".join((status_line(self.status), fields.text, framing, self._standing_fields(fields), b"\r\n"))

    def _frame(self, fields: ResponseFields, first_body_bytes: int, more: bool) -> bytes:
        """Choose how the client will know where the body ends (RFC 9112 §6.3)."""
        if self._send_body and fields.content_length is not None and not self._wants_trailers:
            return b"content-length: %d\r\n" % fields.content_length
        if not self._send_body:  # no content-length in a 204 (RFC 9110 §8.6); with HEAD and 304 it is the absent body's
            declared = fields.content_length if self.status != 204 else None
            return b"content-length: %d\r\n" % declared if declared is not None else b""
        if not more and not self._wants_trailers:
            return b"content-length: %d\r\n" % first_body_bytes
        if self._head.http_version == "1.1":
            self._chunked = True
            return b"transfer-encoding: chunked\r\n"
        self.keep_alive = False  # HTTP/1.0: the end of the connection is the end of the body
        return b""

    def _encode_trailers(self, message: Message, pieces: list[bytes]) -> None:
        """Trailer fields go out only to a client that keeps them (RFC 9110 §6.5.1, ``TE: trailers``)."""
        fields = ResponseFields(message.get("headers", ()))
        if fields.content_length is not None or any(name.lower() in _NO_TRAILERS for name, _ in message["headers"]):
            raise AppError("http.response.trailers with a field that frames or routes the message")
        if self._head.accepts_trailers:
            self._trailer_text += fields.text
        if message.get("more_trailers", False):
            return
        self.state = COMPLETE
        if self._chunked:
            pieces.append(b"0\r\n" + self._trailer_text + b"\r\n")

    def _encode_early_hint(self, message: Message, pieces: list[bytes]) -> None:
        """``103 Early Hints`` with one Link field each (RFC 8297)."""
        fields = ResponseFields([(b"link", link) for link in message.get("links", ())])
        if self._head.http_version == "1.1":  # HTTP/1.0 has no interim responses
            pieces.append(status_line(103) + fields.text + b"\r\n")


def _as_bytes(data: Any) -> bytes:
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise AppError(f"the body of http.response.body is bytes, not {type(data).__name__}")


_STATUS_LINES: Final = {
    int(status): f"HTTP/1.1 {int(status)} {status.phrase}\r\n".encode() for status in HTTPStatus
}


def status_line(status: int) -> bytes:
    """``HTTP/1.1 200 OK``; an unregistered status has an empty reason phrase (RFC 9112 §4)."""
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def error_response(
    status: int, text: str, standing_fields: Callable[[ResponseFields], bytes], *, with_body: bool = True,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> bytes:
    """A whole plain text answer that ends the connection."""
    body = f"{text}\n".encode()
    fields = ResponseFields([(b"content-type", b"text/plain; charset=utf-8"), *headers])
    framing = b"content-length: %d\r\nconnection: close\r\n" % len(body)
    head = b"".join((status_line(status), fields.text, framing, standing_fields(fields), b"\r\n"))
    return head + body if with_body else head
