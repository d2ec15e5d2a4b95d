"""What field lines mean for the connection and the body; what could be read in two ways is refused (RFC 9112 §6.3)."""

from functools import lru_cache
from typing import Final

from trioserve._errors import PeerError
from trioserve._protocol.events import Meaning
from trioserve._protocol.grammar import HOST
from trioserve._trust import FORWARDED, X_FORWARDED
from trioserve._types import Fields

__all__ = ["FORWARDING", "INTERPRETED", "check_host", "interpret", "read_length"]

FORWARDING: Final = X_FORWARDED | {FORWARDED}
INTERPRETED: Final = FORWARDING | {
    b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", b"te", b"upgrade",
}  # fmt: skip

_ORDINARY, _FORWARDED = (
    Meaning("1.1", True, content_length=0, expects_continue=False, accepts_trailers=False, forwarded=forwarded)
    for forwarded in (False, True)
)


def interpret(fields: Fields, http_version: str) -> Meaning:
    """The meaning of all field lines of one request.

    Raises:
        PeerError: 400 for framing that is malformed, repeated or contradictory, and for a missing or bad Host; 501
            for a transfer coding that is not known, in front of chunks.
    """
    host = length = None
    forwarded, others = False, []
    for name, value in fields:
        if name in INTERPRETED:
            if host is None and name == b"host":
                host = value
            elif length is None and name == b"content-length":
                length = value
            elif name in FORWARDING:
                forwarded = True
            elif value != b"keep-alive" or name != b"connection" or http_version == "1.0":
                others.append((name, value))  # browsers say keep-alive, which HTTP/1.1 means anyway (RFC 9112 §9.3)
    if host is not None and not others and http_version == "1.1":
        check_host(host)
        if length is not None:
            return Meaning("1.1", True, read_length(length), False, False, forwarded)
        return _FORWARDED if forwarded else _ORDINARY
    return _interpret_all(host, length, others, http_version, forwarded=forwarded)


def _interpret_all(
    host: bytes | None, length: bytes | None, others: Fields, http_version: str, *, forwarded: bool
) -> Meaning:
    """The same for ``others`` that mean something, beside the first Host and Content-Length."""
    once: dict[bytes, bytes] = {}
    if host is not None:
        once[b"host"] = host
    if length is not None:
        once[b"content-length"] = length
    options: list[bytes] = []
    protocols: list[bytes] = []
    accepts_trailers = expects_continue = False
    for name, value in others:
        if name == b"connection":
            options += _tokens(value)
        elif name == b"upgrade":
            protocols += _tokens(value)
        elif name == b"te":
            accepts_trailers = accepts_trailers or b"trailers" in _tokens(value)
        elif name == b"expect":
            expects_continue = expects_continue or (http_version != "1.0" and b"100-continue" in _tokens(value))
        elif name in once:
            raise PeerError(400, f"more than one {name.decode().title()} field")
        else:
            once[name] = value
    if host is not None or http_version != "1.0":  # which can do without
        check_host(host)
    keep_alive = b"close" not in options and (http_version != "1.0" or b"keep-alive" in options)  # RFC 9112 §9.3
    body = _body_length(once.get(b"content-length"), once.get(b"transfer-encoding"), http_version)
    offers_websocket = http_version == "1.1" and b"upgrade" in options and b"websocket" in protocols  # RFC 9110 §7.8
    return Meaning(
        http_version, keep_alive, body, expects_continue, accepts_trailers, forwarded, offers_websocket)


def _tokens(value: bytes) -> list[bytes]:
    return [token.strip(b" \t") for token in value.lower().split(b",")]


def check_host(host: bytes | None) -> None:
    """One well-formed Host field, or what stands for it (RFC 9112 §3.2, RFC 9113 §8.3.1). Raises PeerError 400."""
    if host is None:
        raise PeerError(400, "no Host field")
    if not _is_host(host):
        raise PeerError(400, "malformed Host field")


@lru_cache(maxsize=64)  # a site has few names: 0.2 us less for each new head (browser_mix)
def _is_host(host: bytes) -> bool:
    return HOST.fullmatch(host) is not None


def _body_length(content_length: bytes | None, transfer_encoding: bytes | None, http_version: str) -> int | None:
    """Length of the body, ``None`` if it is chunked (RFC 9112 §6.3)."""
    if transfer_encoding is not None:
        if content_length is not None:
            raise PeerError(400, "both Content-Length and Transfer-Encoding")
        if http_version == "1.0":
            raise PeerError(400, "Transfer-Encoding in an HTTP/1.0 request")
        if transfer_encoding.lower() != b"chunked":
            raise _bad_coding(transfer_encoding)
        return None
    return 0 if content_length is None else read_length(content_length)


def _bad_coding(transfer_encoding: bytes) -> PeerError:
    """Without chunks as the last coding nobody knows where the body ends (RFC 9112 §6.3); chunks come once (§6.1)."""
    *before, last = _tokens(transfer_encoding)
    if last != b"chunked" or b"chunked" in before:
        return PeerError(400, "Transfer-Encoding does not end with chunked, or has it twice")
    return PeerError(501, "unknown transfer coding")


def read_length(content_length: bytes) -> int:
    """What a Content-Length says (RFC 9110 §8.6). Raises PeerError 400."""
    if not content_length.isdigit() or len(content_length) > 18:  # 18 digits stay below 2**63
        raise PeerError(400, "malformed Content-Length")
    return int(content_length)
