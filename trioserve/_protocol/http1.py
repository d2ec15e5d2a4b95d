"""HTTP/1.1 requests of one connection: bytes in, heads and bodies out (RFC 9112).

An engine (``head_h11``, ``head_httptools``) reads the field lines of one whole head. Everything around it exists
once, here: where a head ends and how large it may be, what is refused, how a body is framed, what is left over.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from trioserve._errors import PeerError
from trioserve._protocol.body import BodyReader, ChunkedBody, LengthBody
from trioserve._protocol.events import RequestHead
from trioserve._protocol.grammar import HOST, METHOD, decode_path, read_request_line
from trioserve._types import Fields

__all__ = ["Http1Codec", "Http1Limits", "ParseFields"]

ParseFields = Callable[[bytes], Fields]
"""An engine: one whole head in, its field lines out; raises PeerError."""


@dataclass(frozen=True, slots=True)
class Http1Limits:
    """Bounds of one request; all in bytes, but for the count of fields. ``None``: no limit."""

    request_line: int = 16 * 1024
    head: int = 64 * 1024
    fields: int = 100
    body: int | None = None


class Http1Codec:
    """Feed it with ``receive_data``; ask for ``next_head``, then ``take_body`` until ``body_complete``."""

    __slots__ = (
        "_body", "_buffer", "_limits", "_parse_fields", "_scanned", "_skipped_line", "_usual_host", "body_complete",
    )  # fmt: skip

    def __init__(self, parse_fields: ParseFields, limits: Http1Limits) -> None:
        self._parse_fields = parse_fields
        self._limits = limits
        self._buffer = b""
        self._scanned = 0  # bytes of the buffer known to hold no end of a head
        self._skipped_line = False  # an empty line before the request line
        self._usual_host = (b"host", b"")  # the last that was found well-formed; most connections only ever name one
        self._body: BodyReader | None = None
        self.body_complete = True

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the wire."""
        self._buffer = self._buffer + data if self._buffer else data

    @property
    def trailing_data(self) -> bytes:
        """Bytes that belong to what comes next."""
        return self._buffer

    @property
    def body_remaining(self) -> int | None:
        """Bytes of the request body that have not been taken yet; ``None`` when only its end will tell."""
        return 0 if self._body is None or self.body_complete else self._body.remaining

    def next_head(self) -> RequestHead | None:
        """The next request's head, or ``None`` while it is not whole.

        Raises:
            PeerError: the head is malformed, ambiguous or too large; the connection is only good for an answer.
        """
        buffer = self._buffer
        end = buffer.find(b"\r\n\r\n", self._scanned) + 4
        if end == 3 or buffer.startswith(b"\r\n"):
            return self._wait_for_head()
        self._scanned = 0
        self._skipped_line = False
        if end == len(buffer):
            self._buffer = b""
            return self._read_head(buffer)
        self._buffer = buffer[end:]
        return self._read_head(buffer[:end])

    def take_body(self) -> bytes:
        """The body bytes that have arrived; sets ``body_complete`` when they were the last.

        Raises:
            PeerError: broken chunks (400), a body over the limit (413), too many trailers (431).
        """
        if self._body is None or self.body_complete:
            return b""
        data, self._buffer = self._body.take(self._buffer)
        self.body_complete = self._body.complete
        return data

    def _wait_for_head(self) -> RequestHead | None:
        """No head yet: skip an empty line, and refuse early what cannot become a request any more."""
        buffer = self._buffer
        if buffer.startswith(b"\r\n") and not self._skipped_line:  # one is forgiven (RFC 9112 §2.2)
            self._skipped_line = True
            self._scanned = 0
            self._buffer = buffer[2:]
            return self.next_head()
        if not buffer or (buffer == b"\r" and not self._skipped_line):
            return None
        if not METHOD.match(buffer):
            raise PeerError(400, "malformed request line")
        if b"\r\n" not in buffer and len(buffer) > self._limits.request_line:
            raise PeerError(414, f"request line over the limit of {self._limits.request_line} bytes")
        if len(buffer) > self._limits.head:
            raise PeerError(431, f"request head over the limit of {self._limits.head} bytes")
        if buffer.count(b"\n") != buffer.count(b"\r\n"):
            raise PeerError(400, "bare LF in the request head")
        self._scanned = max(0, len(buffer) - 3)
        return None

    def _read_head(self, head: bytes) -> RequestHead:
        limits = self._limits
        if len(head) > limits.request_line and head.index(b"\r\n") > limits.request_line:
            raise PeerError(414, f"request line over the limit of {limits.request_line} bytes")
        if len(head) > limits.head:
            raise PeerError(431, f"request head over the limit of {limits.head} bytes")
        method, target, raw_path, query_string, version, authority = read_request_line(head)
        headers = self._parse_fields(head)
        if len(headers) > limits.fields:
            raise PeerError(431, f"more than {limits.fields} header fields")
        path = decode_path(raw_path)
        request = RequestHead(method, target, path, raw_path, query_string, version, headers)
        special = [field for field in headers if field[0] in _INTERPRETED]
        if len(special) == 1 and special[0] == self._usual_host and authority is None:
            self.body_complete = True  # nothing but a Host that was checked before: most requests
            self._body = None
        else:
            self._interpret(request, special, authority)
        return request

    def _interpret(self, request: RequestHead, special: Fields, authority: bytes | None) -> None:
        """What the field lines mean for the connection and the body; refuse what could be read in two ways."""
        once: dict[bytes, bytes] = {}
        for name, value in special:
            if name == b"connection":
                _apply_connection_options(request, value)
            elif name == b"te":
                request.accepts_trailers = request.accepts_trailers or b"trailers" in _tokens(value)
            elif name == b"expect":
                request.expects_continue = request.http_version == "1.1" and value.lower() == b"100-continue"
            elif name in once:
                raise PeerError(400, f"more than one {name.decode().title()} field")
            else:
                once[name] = value
        self._check_host(request, once.get(b"host"))
        if authority is not None:
            _replace_host(request.headers, authority)
        request.content_length = _body_length(request, once.get(b"content-length"), once.get(b"transfer-encoding"))
        self._frame_body(request.content_length)

    def _check_host(self, request: RequestHead, host: bytes | None) -> None:
        """Exactly one well-formed Host field in HTTP/1.1 (RFC 9112 §3.2)."""
        if host is None:
            if request.http_version == "1.1":
                raise PeerError(400, "no Host field")
        elif host != self._usual_host[1]:
            if not HOST.fullmatch(host):
                raise PeerError(400, "malformed Host field")
            self._usual_host = (b"host", host)

    def _frame_body(self, length: int | None) -> None:
        limit = self._limits.body
        if length == 0:
            self._body = None
        elif length is None:
            self._body = ChunkedBody(limit)
        elif limit is not None and length > limit:
            raise PeerError(413, f"request body over the limit of {limit} bytes")
        else:
            self._body = LengthBody(length)
        self.body_complete = length == 0


_INTERPRETED: Final = frozenset((b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", b"te"))


def _apply_connection_options(request: RequestHead, value: bytes) -> None:
    """``close`` ends a persistent connection, ``keep-alive`` makes one of HTTP/1.0 (RFC 9112 §9.3)."""
    options = _tokens(value)
    if b"close" in options:
        request.keep_alive = False
    elif b"keep-alive" in options and request.http_version == "1.0":
        request.keep_alive = not any(b"close" in _tokens(v) for n, v in request.headers if n == b"connection")


def _tokens(value: bytes) -> list[bytes]:
    return [token.strip(b" \t") for token in value.lower().split(b",")]


def _replace_host(headers: Fields, authority: bytes) -> None:
    """The authority of an absolute-form target overrides the Host field (RFC 9112 §3.2.2)."""
    headers[:] = [(b"host", authority), *(field for field in headers if field[0] != b"host")]


def _body_length(request: RequestHead, content_length: bytes | None, transfer_encoding: bytes | None) -> int | None:
    """RFC 9112 §6.3, with everything refused that one reader could take for something else than another."""
    if transfer_encoding is not None:
        if content_length is not None:
            raise PeerError(400, "both Content-Length and Transfer-Encoding")
        if request.http_version == "1.0":
            raise PeerError(400, "Transfer-Encoding in an HTTP/1.0 request")
        if transfer_encoding.lower() != b"chunked":
            raise PeerError(501, "unknown transfer coding")
        return None
    if content_length is None:
        return 0
    if not content_length.isdigit() or len(content_length) > 18:  # 18 digits stay below 2**63
        raise PeerError(400, "malformed Content-Length")
    return int(content_length)
