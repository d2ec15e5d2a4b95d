"""HTTP/1.1 requests of one connection: bytes in, heads and bodies out (RFC 9112).

An engine (``head_h11``, ``head_httptools``) reads the field lines of one whole head. Everything around it exists
once, here: where a head ends and how large it may be, what is refused, how a body is framed, what is left over.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from trioserve._errors import PeerError
from trioserve._protocol.body import BodyReader, ChunkedBody, LengthBody
from trioserve._protocol.events import RequestHead
from trioserve._protocol.grammar import METHOD, check_text, split_request_line
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

    __slots__ = ("_body", "_buffer", "_checked_host", "_limits", "_parse_fields", "_scanned", "body_complete")

    def __init__(self, parse_fields: ParseFields, limits: Http1Limits) -> None:
        self._parse_fields = parse_fields
        self._limits = limits
        self._buffer = b""
        self._scanned = 0  # bytes of the buffer known to hold no end of a head
        self._checked_host = b""  # the last Host that was found well-formed; most connections only ever name one
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
        if buffer.startswith(b"\r\n"):  # one empty line before a request line is forgiven (RFC 9112 §2.2)
            buffer = self._buffer = buffer[2:]
        end = buffer.find(b"\r\n\r\n", self._scanned)
        if end < 0:
            self._check_unfinished(buffer)
            self._scanned = max(0, len(buffer) - 3)
            return None
        self._scanned = 0
        self._buffer = buffer[end + 4 :]
        head = self._read_head(buffer[: end + 4])
        self._frame_body(head)
        return head

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

    def _check_unfinished(self, buffer: bytes) -> None:
        """Refuse early what cannot become a request any more, so that nobody waits for the rest of it."""
        if not buffer or buffer == b"\r":
            return
        if not METHOD.match(buffer):
            raise PeerError(400, "malformed request line")
        if b"\r\n" not in buffer and len(buffer) > self._limits.request_line:
            raise PeerError(414, f"request line over the limit of {self._limits.request_line} bytes")
        if len(buffer) > self._limits.head:
            raise PeerError(431, f"request head over the limit of {self._limits.head} bytes")
        if buffer.count(b"\n") != buffer.count(b"\r\n"):
            raise PeerError(400, "bare LF in the request head")

    def _read_head(self, head: bytes) -> RequestHead:
        line_end = head.index(b"\r\n")
        if line_end > self._limits.request_line:
            raise PeerError(414, f"request line over the limit of {self._limits.request_line} bytes")
        if len(head) > self._limits.head:
            raise PeerError(431, f"request head over the limit of {self._limits.head} bytes")
        if check_text(head) - 2 > self._limits.fields:
            raise PeerError(431, f"more than {self._limits.fields} header fields")
        method, target, version = split_request_line(head[:line_end])
        if not METHOD.fullmatch(method):
            raise PeerError(400, "malformed method")
        headers = self._parse_fields(head)
        raw_path, query_string, authority = _split_target(method, target)
        request = RequestHead(
            method=method.decode("ascii"), target=target, path=_decode_path(raw_path), raw_path=raw_path,
            query_string=query_string, http_version=version, headers=headers, keep_alive=version == "1.1",
        )  # fmt: skip
        self._interpret(request, authority)
        return request

    def _interpret(self, request: RequestHead, authority: bytes | None) -> None:
        """What the field lines mean for the connection and for the body; refuse what could be read in two ways."""
        host: bytes | None = None
        content_length: bytes | None = None
        transfer_encoding: bytes | None = None
        for name, value in request.headers:
            if name not in _INTERPRETED:
                continue
            if name == b"host":
                if host is not None:
                    raise PeerError(400, "more than one Host field")
                host = value
            elif name == b"content-length":
                if content_length is not None:
                    raise PeerError(400, "more than one Content-Length field")
                content_length = value
            elif name == b"transfer-encoding":
                if transfer_encoding is not None:
                    raise PeerError(400, "more than one Transfer-Encoding field")
                transfer_encoding = value
            elif name == b"connection":
                _apply_connection_options(request, value)
            elif name == b"expect":
                request.expects_continue = request.http_version == "1.1" and value.lower() == b"100-continue"
            elif name == b"te":
                request.accepts_trailers = b"trailers" in _tokens(value)
        self._check_host(request, host)
        if authority is not None:
            _replace_host(request.headers, authority)
        request.content_length = _body_length(request, content_length, transfer_encoding)

    def _check_host(self, request: RequestHead, host: bytes | None) -> None:
        """Exactly one well-formed Host field in HTTP/1.1 (RFC 9112 §3.2)."""
        if host is None:
            if request.http_version == "1.1":
                raise PeerError(400, "no Host field")
        elif host != self._checked_host:
            if not _HOST.fullmatch(host):
                raise PeerError(400, "malformed Host field")
            self._checked_host = host

    def _frame_body(self, head: RequestHead) -> None:
        length, limit = head.content_length, self._limits.body
        if length == 0:
            self._body = None
            self.body_complete = True
            return
        if length is not None and limit is not None and length > limit:
            raise PeerError(413, f"request body over the limit of {limit} bytes")
        self._body = ChunkedBody(limit) if length is None else LengthBody(length)
        self.body_complete = False


_INTERPRETED: Final = frozenset(
    (b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", b"te")
)

# uri-host [ ":" port ], empty for a target without authority (RFC 9110 §7.2, RFC 3986 §3.2.2).
_HOST: Final = re.compile(
    rb"(?:(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*|\[[0-9A-Fa-f:.]+\]|\[v[0-9A-Fa-f]+\.[A-Za-z0-9\-._~!$&'()*+,;=:]+\])"
    rb"(?::[0-9]{0,5})?"
)
_ORIGIN_FORM: Final = re.compile(rb"/[\x21\x22\x24-\x7e]*")  # visible ASCII but "#": no fragment in a request target
_ABSOLUTE_FORM: Final = re.compile(rb"https?://([^/?#@]+)(/[^?#]*)?(?:\?([^#]*))?", re.IGNORECASE)
_VISIBLE: Final = re.compile(rb"[\x21\x22\x24-\x7e]+")


def _split_target(method: bytes, target: bytes) -> tuple[bytes, bytes, bytes | None]:
    """Path, query and, of an absolute-form target, the authority (RFC 9112 §3.2)."""
    if method == b"CONNECT":
        raise PeerError(501, "CONNECT is for proxies")
    if _ORIGIN_FORM.fullmatch(target):
        path, _, query = target.partition(b"?")
        return path, query, None
    if target == b"*" and method == b"OPTIONS":
        return target, b"", None
    if _VISIBLE.fullmatch(target) and (match := _ABSOLUTE_FORM.fullmatch(target)) and _HOST.fullmatch(match[1]):
        path = match[2] or (b"*" if method == b"OPTIONS" and match[3] is None else b"/")
        return path, match[3] or b"", match[1]
    raise PeerError(400, "malformed request target")


def _decode_path(raw_path: bytes) -> str:
    if b"%" not in raw_path:
        return raw_path.decode("ascii")
    return unquote_to_bytes(raw_path).decode("utf-8", "replace")


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
