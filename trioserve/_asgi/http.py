"""The response side of one HTTP request: ASGI messages in, bytes out, each rule checked (ASGI HTTP 2.5; RFC 9112).

Pure: it neither waits nor sends. The caller sends the pieces that ``encode`` appends.
"""

from collections.abc import Callable, Iterable
from enum import Enum
from http import HTTPStatus
from typing import Any, Final

from trioserve._asgi.fields import CONTENT_LENGTH, ResponseFields
from trioserve._errors import AppError
from trioserve._protocol.events import RequestHead
from trioserve._types import Message

__all__ = ["HttpResponse", "ResponseState", "error_response"]


class ResponseState(Enum):
    """How far a response is. Each state names what it waits for."""

    START = "http.response.start"
    FIRST_BODY = "the first http.response.body"
    BODY = "http.response.body"
    TRAILERS = "http.response.trailers"
    COMPLETE = "nothing more"


_START, _FIRST_BODY, _BODY, _TRAILERS, _COMPLETE = ResponseState


class HttpResponse:
    """Turns the application's messages into the bytes of one response.

    The head is held back until the first body message, so that an application that fails in between still gets a
    500, and head and body leave in one piece.

    Attributes:
        state: what is awaited next.
        status: of the response, 0 before ``http.response.start``.
        body_bytes: body bytes encoded so far, without framing.
        keep_alive: the connection may carry another request after this response.
    """

    __slots__ = (
        "_body_left", "_chunked", "_fields", "_head", "_send_body", "_standing_fields", "_wants_trailers",
        "body_bytes", "keep_alive", "state", "status",
    )  # fmt: skip

    def __init__(self, head: RequestHead, standing_fields: Callable[[ResponseFields], bytes]) -> None:
        self._head = head
        self._standing_fields = standing_fields
        self.state = _START
        self.status = 0
        self.body_bytes = 0
        self.keep_alive = head.keep_alive
        self._fields: ResponseFields | None = None
        self._chunked = False
        self._send_body = True
        self._body_left: int | None = None  # of a declared content-length
        self._wants_trailers = False

    def encode(self, message: Message, pieces: list[bytes]) -> None:
        """Check ``message`` and append what it puts on the wire to ``pieces``.

        Raises:
            AppError: the message is not allowed here, or malformed; nothing was appended.
        """
        kind = _message_type(message)
        state = self.state
        if kind == "http.response.body" and state is not _START:
            if state is _COMPLETE or state is _TRAILERS:
                return  # after the end: ignored (ASGI HTTP, "Response Body")
            self._encode_body(message, pieces)
        elif kind == "http.response.start" and state is _START:
            self._start(message)
        elif kind == "http.response.trailers" and state is _TRAILERS:
            self._encode_trailers(message, pieces)
        elif kind == "http.response.early_hint" and state in (_START, _FIRST_BODY):
            self._encode_early_hint(message, pieces)
        elif state is not _COMPLETE or not kind.startswith("http.response."):
            raise AppError(f"{kind!r} sent where {state.value} is expected")

    def _start(self, message: Message) -> None:
        status = message.get("status")
        if not isinstance(status, int) or not 200 <= status <= 999:
            raise AppError(f"http.response.start with status {status!r}: a whole number from 200 to 999 is expected")
        fields = ResponseFields(message.get("headers", ()))
        self._wants_trailers = bool(message.get("trailers", False))
        self._send_body = self._head.method != "HEAD" and status != 204 and status != 304
        if self._send_body and not self._wants_trailers:
            self._body_left = fields.content_length
        self._fields = fields
        self.status = int(status)
        self.state = _FIRST_BODY

    def _encode_body(self, message: Message, pieces: list[bytes]) -> None:
        data = message.get("body", b"")
        if type(data) is not bytes:
            data = _as_bytes(data)
        more = message.get("more_body", False)
        size = len(data)
        if self._body_left is not None:
            self._count_down(size, more)
        if self.state is _FIRST_BODY:
            self._encode_head(size, more, pieces)
        if size and self._send_body:
            self.body_bytes += size
            if self._chunked:
                pieces += (b"%x\r\n" % size, data, b"\r\n")
            else:
                pieces.append(data)
        if not more:
            self._end_body(pieces)

    def _count_down(self, size: int, more: bool) -> None:
        """Hold the application to its content-length (RFC 9112 §6.3: the client counts too)."""
        assert self._body_left is not None
        if size > self._body_left:
            raise AppError(f"response body is {size - self._body_left} bytes longer than its content-length")
        if not more and size < self._body_left:
            raise AppError(f"response body is {self._body_left - size} bytes shorter than its content-length")
        self._body_left -= size

    def _end_body(self, pieces: list[bytes]) -> None:
        if self._wants_trailers:
            self.state = _TRAILERS
            return
        self.state = _COMPLETE
        if self._chunked and self._send_body:
            pieces.append(b"0\r\n\r\n")

    def _encode_head(self, first_body_bytes: int, more: bool, pieces: list[bytes]) -> None:
        """Status line, the application's fields, framing, connection, and the server's standing fields."""
        fields = self._fields
        assert fields is not None
        parts = [status_line(self.status), *fields.lines]
        self._frame(fields, first_body_bytes, more, parts)
        if fields.says_close:
            self.keep_alive = False
        if not self.keep_alive:
            parts.append(b"connection: close\r\n")
        elif self._head.http_version == "1.0":
            parts.append(b"connection: keep-alive\r\n")
        parts += (self._standing_fields(fields), b"\r\n")
        pieces.append(b"".join(parts))
        self.state = _BODY

    def _frame(self, fields: ResponseFields, first_body_bytes: int, more: bool, parts: list[bytes]) -> None:
        """Choose how the client will know where the body ends (RFC 9112 §6.3)."""
        if fields.content_length is not None and not (self._send_body and self._wants_trailers):
            if self.status != 204:  # RFC 9110 §8.6
                parts.append(b"content-length: %d\r\n" % fields.content_length)
        elif not self._send_body:
            pass  # the head says it all
        elif not more and not self._wants_trailers:
            parts.append(b"content-length: %d\r\n" % first_body_bytes)
        elif self._head.http_version == "1.1":
            self._chunked = True
            parts.append(b"transfer-encoding: chunked\r\n")
        else:
            self.keep_alive = False  # HTTP/1.0: the end of the connection is the end of the body

    def _encode_trailers(self, message: Message, pieces: list[bytes]) -> None:
        """Trailer fields go out only to a client that keeps them (RFC 9110 §6.5.1, ``TE: trailers``)."""
        fields = ResponseFields(message.get("headers", ()))
        chunked = self._chunked and self._send_body
        if fields.forbidden_in_trailers:
            raise AppError("http.response.trailers with a field that frames or routes the message")
        if self._fields is not None and chunked and self._head.accepts_trailers:
            self._fields.trailer_lines += fields.lines
        if message.get("more_trailers", False):
            return
        self.state = _COMPLETE
        if chunked:
            trailer_lines = self._fields.trailer_lines if self._fields is not None else []
            pieces.append(b"0\r\n" + b"".join(trailer_lines) + b"\r\n")

    def _encode_early_hint(self, message: Message, pieces: list[bytes]) -> None:
        """``103 Early Hints`` with one Link field each (RFC 8297)."""
        if self._head.http_version == "1.0":
            return
        links = [(b"link", link) for link in message.get("links", ())]
        pieces.append(b"".join([status_line(103), *ResponseFields(links).lines, b"\r\n"]))


def _message_type(message: Message) -> str:
    try:
        kind = message["type"]
    except (TypeError, KeyError, IndexError):
        raise AppError(f"send() takes a dict with a 'type', not {message!r:.100}") from None
    if type(kind) is not str:
        raise AppError(f"the 'type' of a message is a string, not {kind!r:.100}")
    return kind


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
    fields = ResponseFields(
        [(b"content-type", b"text/plain; charset=utf-8"), (CONTENT_LENGTH, b"%d" % len(body)), *headers]
    )
    return b"".join(
        [
            status_line(status),
            *fields.lines,
            b"content-length: %d\r\nconnection: close\r\n" % len(body),
            standing_fields(fields),
            b"\r\n",
            body if with_body else b"",
        ]
    )
