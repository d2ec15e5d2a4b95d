"""Request heads of HTTP/2: pseudo-header fields and fields become what an HTTP/1.1 head says (RFC 9113 §8.2, §8.3)."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import unquote_to_bytes

from trioserve._errors import PeerError
from trioserve._protocol.events import Meaning, RequestHead
from trioserve._protocol.grammar import TEXT, TOKEN, name_method
from trioserve._protocol.http1.codec import Http1Limits
from trioserve._protocol.http2.names import Names, look_at
from trioserve._protocol.meaning import check_host, interpret, read_length
from trioserve._types import Fields

__all__ = ["HeadReader", "check_trailers"]

REMEMBERED_BYTES: Final = 1024  # of a head that its client may repeat; longer ones are rarely the same again

_PATH: Final = re.compile(rb"(/[\x21\x22\x24-\x3e\x40-\x7e]*)(?:\?([\x21\x22\x24-\x7e]*))?")
_SCHEMES: Final = (b"http", b"https")
_METHODS: Final = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")}


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
        names, values = zip(*fields, strict=True) if fields else ((), ())
        known = look_at(names)
        size = self._check_values(values, known)
        head = self._read(fields, values, known, ends=ends)
        if size <= REMEMBERED_BYTES:
            self._last_fields, self._last_ends, self._last_head = fields, ends, head
        return head

    def _check_values(self, values: tuple[bytes, ...], known: Names) -> int:
        """The size of the head. Each value is text without white space around it (RFC 9113 §8.2.1).

        A few passes in C over all of them: a look at each in Python would cost five times as much.
        """
        text = b"".join(values)
        size = known.size + len(text)
        if size > self._limits.head:
            raise PeerError(
                431, f"request head over the limit of {self._limits.head} bytes", limit="limit_header_bytes")
        if known.regular > self._limits.fields:
            raise PeerError(431, f"more than {self._limits.fields} header fields", limit="limit_header_count")
        _check_text(text, values)
        return size

    def _read(
        self, fields: Sequence[tuple[bytes, bytes]], values: tuple[bytes, ...], known: Names, *, ends: bool
    ) -> RequestHead:
        is_tunnel = known.pick is None
        if known.pick is not None:
            method, scheme, target = known.pick(values)
        else:
            method, scheme, target = self._read_unusual(fields[: known.pseudo])
        name = _METHODS.get(method) or self._read_method(method, is_tunnel=is_tunnel, ends=ends)
        if scheme not in _SCHEMES and scheme.lower() not in _SCHEMES:
            raise PeerError(400, "no scheme, or an unknown one")
        path, query = self._split_target(method, target)
        if known.authority >= 0 and not values[known.authority]:
            raise PeerError(400, "an empty authority")  # RFC 9110 §4.2.1
        if known.is_ordinary and not is_tunnel:
            check_host(authority := values[known.authority])
            headers = [(b"host", authority), *fields[known.pseudo :]]
            if (crumbs := known.crumbs) is not None:
                headers[crumbs] = [(b"cookie", b"; ".join([value for _, value in headers[crumbs]]))]
            meanings = known.meanings
            meaning = self._understand(values, known, ends=ends) if meanings is None else meanings[ends]
        else:
            headers = _as_in_http1(fields, values, known)
            meaning = self._interpret(headers, is_tunnel=is_tunnel, ends=ends)
        return RequestHead(
            name, target,
            path.decode("ascii") if b"%" not in path else unquote_to_bytes(path).decode("utf-8", "replace"),
            path, query, headers, meaning,
        )  # fmt: skip

    def _read_unusual(self, pseudo: Sequence[tuple[bytes, bytes]]) -> tuple[bytes, bytes, bytes]:
        """Method, scheme and target of what is no ordinary request: a tunnel to WebSocket, or an error."""
        given = dict(pseudo)
        method, protocol = given.get(b":method", b""), given.get(b":protocol")
        if method == b"CONNECT":
            self._check_tunnel(given, protocol)
        elif protocol is not None:
            raise PeerError(400, "a protocol for a tunnel without CONNECT")
        return method, given.get(b":scheme", b""), given.get(b":path", b"")

    def _read_method(self, method: bytes, *, is_tunnel: bool, ends: bool) -> str:
        if not TOKEN.fullmatch(method):
            raise PeerError(400, "no method, or a malformed one")
        if method == b"CONNECT" and (ends or not is_tunnel):
            raise PeerError(400, "malformed CONNECT")
        return name_method(method)

    def _understand(self, values: tuple[bytes, ...], known: Names, *, ends: bool) -> Meaning:
        """The meaning of ordinary fields of which some have a value that matters."""
        if known.te >= 0:
            _check_te(values[known.te])
        length = 0 if ends else None
        if known.length >= 0:
            length = read_length(values[known.length])
            self._check_length(length, ends=ends)
        return Meaning("2", True, length, False, accepts_trailers=True, forwarded=known.forwarded)

    def _interpret(self, headers: Fields, *, is_tunnel: bool, ends: bool) -> Meaning:
        meaning = replace(interpret(headers, "2"), accepts_trailers=True)  # a client can tell trailers from the head
        if is_tunnel:
            meaning.offers_websocket = True
        elif not ends and not meaning.content_length and not any(name == b"content-length" for name, _ in headers):
            meaning.content_length = None
        for name, value in headers:
            if name == b"te":
                _check_te(value)
        self._check_length(meaning.content_length or 0, ends=ends)
        return meaning

    def _check_length(self, length: int, *, ends: bool) -> None:
        if ends and length:
            raise PeerError(400, "a Content-Length without a body")
        if (limit := self._limits.body) is not None and length > limit:
            raise PeerError(413, f"request body over the limit of {limit} bytes", limit="limit_request_body")

    def _check_tunnel(self, pseudo: dict[bytes, bytes], protocol: bytes | None) -> None:
        """RFC 9113 §8.5, RFC 8441 §4."""
        if pseudo.keys() == {b":method", b":authority"}:
            raise PeerError(501, "CONNECT is for proxies")
        if protocol is None or not self._tunnels:
            raise PeerError(400, "malformed CONNECT")
        if protocol.lower() != b"websocket":
            raise PeerError(501, "no tunnel but to WebSocket")

    def _split_target(self, method: bytes, target: bytes) -> tuple[bytes, bytes]:
        if len(target) > self._limits.request_line:
            raise PeerError(
                414, f"request target over the limit of {self._limits.request_line} bytes", limit="limit_request_line")
        if target == b"*" and method == b"OPTIONS":
            return target, b""
        match = _PATH.fullmatch(target)
        if match is None:
            raise PeerError(400, "no path, or a malformed one")
        return match[1], match[2] or b""


def check_trailers(fields: Sequence[tuple[bytes, bytes]]) -> None:
    """Fields that end a body, of which nobody wants to know more. Raises PeerError (RFC 9113 §8.1)."""
    names, values = zip(*fields, strict=True) if fields else ((), ())
    if look_at(names).pseudo:
        raise PeerError(400, "a pseudo-header field after the body")
    _check_text(b"".join(values), values)


def _check_text(text: bytes, values: tuple[bytes, ...]) -> None:
    """``text``: all ``values`` in one."""
    if text.translate(None, TEXT):
        raise PeerError(400, "control character in a field value")
    if tuple(map(bytes.strip, values)) != values:
        raise PeerError(400, "white space around a field value")


def _check_te(value: bytes) -> None:
    if value.lower() != b"trailers":  # RFC 9113 §8.2.2
        raise PeerError(400, "a transfer coding in HTTP/2")


def _as_in_http1(fields: Sequence[tuple[bytes, bytes]], values: tuple[bytes, ...], known: Names) -> Fields:
    """The authority comes first, as Host (RFC 9113 §8.3.1); crumbs of one cookie become one again (§8.2.3)."""
    headers: Fields = []
    authority = values[known.authority] if known.authority >= 0 else None
    if authority is not None:
        headers.append((b"host", authority))
    cookie_at = -1
    for field in fields[known.pseudo :]:
        name = field[0]
        if name == b"host" and authority is not None:
            if field[1].lower() != authority.lower():
                raise PeerError(400, "Host is not the authority")
        elif name != b"cookie":
            headers.append(field)
        elif cookie_at < 0:
            cookie_at = len(headers)
            headers.append(field)
        else:
            headers[cookie_at] = b"cookie", headers[cookie_at][1] + b"; " + field[1]
    return headers
