"""The response side of one HTTP request: ASGI messages in, bytes out, each rule checked (ASGI HTTP 2.5; RFC 9112).

Pure: it neither waits nor sends. The caller sends the pieces that ``encode`` appends.
"""

from collections.abc import Callable, Iterable
from enum import IntEnum
from http import HTTPStatus
from typing import Any, Final, Protocol, TypeAlias

from trioserve._asgi.fields import (
    CLOSE,
    DATE,
    LENGTH,
    PLAIN,
    SERVER,
    Field,
    field_lines,
    iterate,
    known_field,
    read_field,
)
from trioserve._errors import AppError
from trioserve._protocol.events import RequestHead
from trioserve._types import Message

__all__ = [
    "BODY", "COMPLETE", "FIRST_BODY", "MESSAGE_COST", "RUN_BYTES", "Dated", "HttpResponse", "State", "error_body",
    "error_response",
]  # fmt: skip


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
_STATUS_LINES: Final = {
    int(status): f"HTTP/1.1 {int(status)} {status.phrase}\r\n".encode() for status in HTTPStatus
}
RUN_BYTES: Final = 128 * 1024  # of body parts that collect, although the application did not wait, and leave together
REMEMBERED_FIELDS: Final = 16  # of one answer: more are rarely the same again
MESSAGE_COST: Final = 128  # bytes that even an empty message counts for: nobody sends for ever without giving way


class Dated(Protocol):
    """What decides which standing fields a response gets."""

    has_date: bool
    has_server: bool


StandingFields: TypeAlias = Callable[[Dated], bytes]
"""The field lines that every response gets, and the empty line that ends the head."""


class HttpResponse:
    """Turns the application's messages into the bytes of one response.

    The head is held back until the first body message, so that an application that fails in between still gets a
    500, and head and body leave in one piece.

    Attributes:
        state: what is awaited next.
        status: of the response, 0 before ``http.response.start``.
        body_bytes: body bytes encoded so far, without framing.
        work: body bytes and messages that the application has sent, in bytes; a message counts as MESSAGE_COST.
        keep_alive: the connection may carry another request after this response; final once the head is encoded.
        has_date, has_server: the application sent its own Date, or Server.
    """

    __slots__ = (
        "_body_left", "_chunked", "_head", "_head_lines", "_says_close", "_send_body", "_standing_fields",
        "_trailer_text", "body_bytes", "has_date", "has_server", "keep_alive", "state", "status", "work",
    )  # fmt: skip

    _trailer_text: bytes | None  # of trailer fields that are still to come; None without any
    _body_left: int | None  # of a declared content-length that counts

    def __init__(self, head: RequestHead, standing_fields: StandingFields) -> None:
        self._head = head
        self._standing_fields = standing_fields
        self.keep_alive = head.meaning.keep_alive
        self.state: int = START
        self.status = 0
        self.body_bytes = self.work = 0
        self.has_date = self.has_server = False

    def encode(self, message: Message, pieces: list[bytes]) -> None:
        """Check ``message`` and append what it puts on the wire to ``pieces``.

        Raises:
            AppError: the message is not allowed here, or malformed; nothing was appended.
        """
        try:
            kind = message["type"]
        except (TypeError, KeyError, IndexError):
            raise AppError(f"send() takes a dict with a 'type', not {message!r:.100}") from None
        if self.state == START and kind == "http.response.start":
            self.work += MESSAGE_COST
            self._start(message)
            return
        if kind != "http.response.body" or not FIRST_BODY <= self.state <= BODY:
            self._encode_other(kind, message, pieces)
            return
        data = message.get("body", b"")
        if type(data) is not bytes:
            data = _as_bytes(data)
        more = message.get("more_body", False)
        size = len(data)
        self.work += size + MESSAGE_COST
        if (left := self._body_left) is not None:
            if size != left and (size > left or not more):
                raise _miscounted(size - left)
            self._body_left = left - size
        if self.state == FIRST_BODY:
            self.state = BODY
            pieces += self._head_lines
            if self._says_close:
                self.keep_alive = False
            if left is None or not self.keep_alive or self._head.meaning.http_version == "1.0":
                pieces.append(self._framing(size, more))
            pieces.append(self._standing_fields(self))
        if size and self._send_body:
            self.body_bytes += size
            if self._chunked:
                pieces += (b"%x\r\n" % size, data, b"\r\n")
            else:
                pieces.append(data)
        if not more:
            if self._trailer_text is not None:
                self.state = TRAILERS
                return
            self.state = COMPLETE
            if self._chunked:
                pieces.append(b"0\r\n\r\n")

    def run_room(self) -> int:
        """Bytes that further body parts in a row may have, each counted with MESSAGE_COST; see ``encode_run``."""
        if not self._send_body:
            return 0
        return RUN_BYTES if self._body_left is None else min(self._body_left, RUN_BYTES)

    def encode_run(self, parts: list[bytes], size: int, pieces: list[bytes]) -> int:
        """The same as ``encode`` for body messages in a row of ``size`` bytes, after which the body goes on.

        They may not be over ``run_room``, which saw to it that they are not more than was declared. Returns the bytes
        that were appended, which nobody has to count again.

        Parts that leave together are one chunk: its boundaries mean nothing (RFC 9112 §7.1).
        """
        self.work += size + MESSAGE_COST * len(parts)
        self.body_bytes += size
        if self._body_left is not None:
            self._body_left -= size
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

    def switch_protocols(self, lines: list[bytes], pieces: list[bytes]) -> None:
        """The response is a 101 of these lines, the status line first; no HTTP follows (RFC 9110 §15.2.2)."""
        self._head_lines = lines
        self.status = 101
        self.state = COMPLETE
        pieces.append(b"".join(lines) + self._standing_fields(self))

    def end_if_whole(self) -> bool:
        """Complete a response of which only the application's last message is missing; true if it is one.

        The client has all that was declared. It should not lose it, or wait for more; but nor is the next request the
        business of an application that does not end what it has begun.
        """
        if self.state == BODY and (self._body_left == 0 or not self._send_body):
            self.state = COMPLETE
            self.keep_alive = False
        return self.state == COMPLETE

    def field(self, name: bytes) -> bytes | None:
        """The first of the application's own fields of that name, once ``http.response.start`` was sent."""
        if self.state == START:
            return None
        lines = (line.partition(b":") for line in self._head_lines[1:])
        return next((value.strip() for known, _, value in lines if known.lower() == name), None)

    def _encode_other(self, kind: Any, message: Message, pieces: list[bytes]) -> None:
        """What is neither start nor body, or comes at the wrong time."""
        self.work += MESSAGE_COST
        state = self.state
        if kind == "http.response.early_hint" and state <= FIRST_BODY:
            self._encode_early_hint(message, pieces)
        elif kind == "http.response.trailers" and state == TRAILERS:
            self._encode_trailers(message, pieces)
        elif state <= BODY or kind not in _KNOWN_TYPES:  # after the end messages are ignored
            raise AppError(f"{kind!r} sent where {_EXPECTED[state]} is expected")

    def _start(self, message: Message) -> None:
        """Take ``http.response.start``. Who repeats a request mostly gets an answer with the same head: 0.5 us less."""
        status, headers, trailers = message.get("status"), message.get("headers", ()), message.get("trailers")
        known = self._head.answer
        if known and known[0] == headers and known[1] == status and not trailers:
            (
                _, self.status, self._head_lines, self._body_left, self._send_body, self._says_close, self.has_date,
                self.has_server,
            ) = known  # fmt: skip
            self._chunked = False
            self._trailer_text = None
        else:
            self._read_start(status, headers, trailers)
            if known is None:
                self._head.answer = ()  # most requests are made once
            elif type(headers) is list and len(headers) <= REMEMBERED_FIELDS and not trailers and _is_fixed(headers):
                self._head.answer = (
                    headers.copy(), status, self._head_lines, self._body_left, self._send_body, self._says_close,
                    self.has_date, self.has_server,
                )  # fmt: skip
        self.state = FIRST_BODY

    def _read_start(self, status: Any, headers: Any, trailers: Any) -> None:
        if not isinstance(status, int) or not 200 <= status <= 999:
            raise AppError(f"http.response.start with status {status!r}: a whole number from 200 to 999 is expected")
        lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]  # RFC 9112 §4: the phrase may be empty
        self.has_date = self.has_server = self._says_close = self._chunked = False
        self._send_body = True
        self._trailer_text = self._body_left = None
        declared: Field | None = None  # the body's length
        for header in headers if type(headers) is list else iterate(headers):
            try:
                field = known_field(header) or read_field(header)
            except TypeError:  # no hash: lists are pairs too
                field = read_field(header)
            kind, line, length = field
            if kind == PLAIN:
                lines.append(line)
            elif kind != LENGTH:
                self._note(kind, line, lines)
            elif declared is None or declared[2] == length:
                declared = field
            else:
                raise AppError(f"content-length {length} contradicts another one, {declared[2]}")
        if trailers:  # they need chunks
            self._trailer_text = b""
        elif declared is not None and status != 204:  # RFC 9110 §8.6
            lines.append(declared[1])
            self._body_left = declared[2]
        if status == 204 or status == 304 or self._head.method == "HEAD":
            self._send_body = False
            self._body_left = None  # with HEAD and 304 the length is that of the body left out
        self._head_lines = lines
        self.status = status

    def _note(self, kind: int, line: bytes, lines: list[bytes]) -> None:
        """A field that says something to the server, too."""
        if kind == CLOSE:
            self._says_close = True
        elif kind == DATE:
            self.has_date = True
            lines.append(line)
        elif kind == SERVER:
            self.has_server = True
            lines.append(line)

    def _framing(self, first_body_bytes: int, more: bool) -> bytes:
        """How the client will know where the body ends, and whether the connection does too (RFC 9112 §6.3, §9.3)."""
        lines = b""
        if self._body_left is not None or not self._send_body:
            pass  # the application's content-length says it, or the status and method do
        elif not more and self._trailer_text is None:
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

    def _encode_trailers(self, message: Message, pieces: list[bytes]) -> None:
        """Trailer fields go out only to a client that keeps them (RFC 9110 §6.5.1, ``TE: trailers``)."""
        text = field_lines(message.get("headers", ()), trailers=True)
        if self._trailer_text is not None and self._head.meaning.accepts_trailers:
            self._trailer_text += text
        if message.get("more_trailers", False):
            return
        self.state = COMPLETE
        if self._chunked:
            pieces.append(b"0\r\n" + (self._trailer_text or b"") + b"\r\n")

    def _encode_early_hint(self, message: Message, pieces: list[bytes]) -> None:
        """``103 Early Hints`` with one Link field each (RFC 8297)."""
        links = message.get("links", ())
        if not isinstance(links, Iterable):
            raise AppError(f"the links of http.response.early_hint are a list, not {links!r:.100}")
        text = field_lines([(b"link", link) for link in links])
        if self._head.meaning.http_version == "1.1":  # HTTP/1.0 has no interim responses
            pieces.append(_STATUS_LINES[103] + text + b"\r\n")


def _is_fixed(headers: list[Any]) -> bool:
    """None of these can be changed: a pair that is a list can, and would still be equal to itself."""
    try:
        hash(tuple(headers))
    except TypeError:
        return False
    return True


def _miscounted(surplus: int) -> AppError:
    """The application is held to its content-length, because the client counts too (RFC 9112 §6.3)."""
    how = "longer" if surplus > 0 else "shorter"
    return AppError(f"response body is {abs(surplus)} bytes {how} than its content-length")


def _as_bytes(data: Any) -> bytes:
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise AppError(f"the body of http.response.body is bytes, not {type(data).__name__}")


def error_response(
    status: int, text: str, standing_fields: StandingFields, *, with_body: bool = True,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> bytes:
    """A whole plain text answer that ends the connection."""
    body = error_body(text)
    fields = field_lines(
        [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            *headers,
        ]
    )
    head = _STATUS_LINES[status] + fields + standing_fields(_PlainAnswer())
    return head + body if with_body else head


def error_body(text: str) -> bytes:
    """What ``error_response`` says."""
    return f"{text}\n".encode()


class _PlainAnswer:
    has_date = has_server = False
