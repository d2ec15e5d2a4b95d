"""Request heads of HTTP/2: pseudo-header fields and fields become what an HTTP/1.1 head says (RFC 9113 §8.2, §8.3)."""

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote_to_bytes

from trioserve._errors import PeerError
from trioserve._protocol.events import RequestHead
from trioserve._protocol.grammar import TEXT, TOKEN
from trioserve._protocol.http1 import Http1Limits
from trioserve._protocol.meaning import interpret
from trioserve._types import Fields

__all__ = ["FIELD_OVERHEAD", "HeadReader", "check_fields"]

FIELD_OVERHEAD: Final = 32  # bytes that each field counts for beside its text (RFC 9113 §6.5.2)
REMEMBERED_BYTES: Final = 1024  # of a head that its client may repeat; longer ones are rarely the same again

_LOWER_TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"  # RFC 9113 §8.2.1
_PATH: Final = re.compile(rb"(/[\x21\x22\x24-\x3e\x40-\x7e]*)(?:\?([\x21\x22\x24-\x7e]*))?")
_PSEUDO: Final = frozenset((b":method", b":scheme", b":authority", b":path", b":protocol"))
_CONNECTION_SPECIFIC: Final = frozenset(  # RFC 9113 §8.2.2
    (b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade")
)


class HeadReader:
    """Of one connection, whose client may repeat itself: the same fields mean the same again.

    ``tunnels``: the client was told that WebSocket is served (RFC 8441).
    """

    __slots__ = ("_last_ends", "_last_fields", "_last_head", "_limits", "_tunnels")

    def __init__(self, limits: Http1Limits, *, tunnels: bool) -> None:
        self._limits = limits
        self._tunnels = tunnels
        self._last_fields: Sequence[tuple[bytes, bytes]] = ()
        self._last_ends = False
        self._last_head: RequestHead | None = None

    def read(self, fields: Sequence[tuple[bytes, bytes]], *, ends: bool) -> RequestHead:
        """The request that begins with ``fields``; ``ends``: it has no body.

        Raises:
            PeerError: 400 for a malformed request (RFC 9113 §8.1.1), 431 and 414 for one over the limits, 501 for a
                tunnel to something unknown.
        """
        if self._last_head is not None and fields == self._last_fields and ends == self._last_ends:
            if self._last_head.answer is None:
                self._last_head.answer = ()  # it is repeated, so its answer is worth remembering
            return self._last_head
        size = self._check_size(fields)
        head = self._read(fields, ends=ends)
        if size <= REMEMBERED_BYTES:
            self._last_fields, self._last_ends, self._last_head = fields, ends, head
        return head

    def _check_size(self, fields: Sequence[tuple[bytes, bytes]]) -> int:
        size = FIELD_OVERHEAD * len(fields)
        for name, value in fields:
            size += len(name) + len(value)
        if size > self._limits.head:
            raise PeerError(431, f"request head over the limit of {self._limits.head} bytes")
        return size

    def _read(self, fields: Sequence[tuple[bytes, bytes]], *, ends: bool) -> RequestHead:
        pseudo, regular = _split(fields)
        if len(regular) > self._limits.fields:
            raise PeerError(431, f"more than {self._limits.fields} header fields")
        check_fields(regular)
        method = pseudo.get(b":method", b"")
        if not TOKEN.fullmatch(method):
            raise PeerError(400, "no method, or a malformed one")
        is_tunnel = method == b"CONNECT"
        if is_tunnel:
            self._check_tunnel(pseudo, ends=ends)
        elif b":protocol" in pseudo:
            raise PeerError(400, "a protocol for a tunnel without CONNECT")
        if pseudo.get(b":scheme") not in (b"http", b"https"):
            raise PeerError(400, "no scheme, or an unknown one")
        target = pseudo.get(b":path", b"")
        path, query = self._split_target(method, target)
        meaning = interpret(headers := _as_in_http1(pseudo, regular), "2")
        meaning.accepts_trailers = True  # every client can tell them from the head
        if is_tunnel:
            meaning.offers_websocket = True
        elif not ends and not meaning.content_length and not any(name == b"content-length" for name, _ in regular):
            meaning.content_length = None
        elif ends and meaning.content_length:
            raise PeerError(400, "a Content-Length without a body")
        if (limit := self._limits.body) is not None and (meaning.content_length or 0) > limit:
            raise PeerError(413, f"request body over the limit of {limit} bytes")
        return RequestHead(
            method.decode("ascii").upper(), target,
            path.decode("ascii") if b"%" not in path else unquote_to_bytes(path).decode("utf-8", "replace"),
            path, query, headers, meaning,
        )  # fmt: skip

    def _check_tunnel(self, pseudo: dict[bytes, bytes], *, ends: bool) -> None:
        """RFC 9113 §8.5, RFC 8441 §4."""
        protocol = pseudo.get(b":protocol")
        if pseudo.keys() == {b":method", b":authority"}:
            raise PeerError(501, "CONNECT is for proxies")
        if protocol is None or not self._tunnels or ends:
            raise PeerError(400, "malformed CONNECT")
        if protocol.lower() != b"websocket":
            raise PeerError(501, "no tunnel but to WebSocket")

    def _split_target(self, method: bytes, target: bytes) -> tuple[bytes, bytes]:
        if len(target) > self._limits.request_line:
            raise PeerError(414, f"request target over the limit of {self._limits.request_line} bytes")
        if target == b"*" and method == b"OPTIONS":
            return target, b""
        match = _PATH.fullmatch(target)
        if match is None:
            raise PeerError(400, "no path, or a malformed one")
        return match[1], match[2] or b""


def _split(fields: Sequence[tuple[bytes, bytes]]) -> tuple[dict[bytes, bytes], Sequence[tuple[bytes, bytes]]]:
    """Pseudo-header fields, which come first and once each, and the others (RFC 9113 §8.3)."""
    pseudo: dict[bytes, bytes] = {}
    for name, value in fields:
        if name not in _PSEUDO:
            break
        if name in pseudo:
            raise PeerError(400, "a pseudo-header field was repeated")
        pseudo[name] = value
    return pseudo, fields[len(pseudo) :]


def check_fields(fields: Sequence[tuple[bytes, bytes]]) -> None:
    """Names are tokens in lower case, values are text without white space around it (RFC 9113 §8.2).

    Raises PeerError, for pseudo-header fields as well. A few passes in C over all of them: a look at each in Python
    would cost five times as much.
    """
    names, values = zip(*fields, strict=True) if fields else ((), ())
    if b"" in names or b"".join(names).translate(None, _LOWER_TOKEN):
        raise PeerError(400, "malformed field name")
    text = b"\n".join((b"", *values, b""))
    if len(text.translate(None, TEXT)) != len(values) + 1:
        raise PeerError(400, "control character in a field value")
    if b"\n " in text or b" \n" in text or b"\n\t" in text or b"\t\n" in text:
        raise PeerError(400, "white space around a field value")
    if not _CONNECTION_SPECIFIC.isdisjoint(names):
        raise PeerError(400, "a field that is for HTTP/1.1 connections")
    if b"te" in names and any(name == b"te" and value != b"trailers" for name, value in fields):
        raise PeerError(400, "a transfer coding in HTTP/2")


def _as_in_http1(pseudo: dict[bytes, bytes], fields: Sequence[tuple[bytes, bytes]]) -> Fields:
    """The authority comes first, as Host (RFC 9113 §8.3.1); crumbs of one cookie become one again (§8.2.3)."""
    headers: Fields = []
    authority = pseudo.get(b":authority")
    if authority is not None:
        headers.append((b"host", authority))
    cookie_at = -1
    for field in fields:
        name = field[0]
        if name == b"host" and authority is not None:
            if field[1] != authority:
                raise PeerError(400, "Host is not the authority")
        elif name != b"cookie":
            headers.append(field)
        elif cookie_at < 0:
            cookie_at = len(headers)
            headers.append(field)
        else:
            headers[cookie_at] = b"cookie", headers[cookie_at][1] + b"; " + field[1]
    return headers
