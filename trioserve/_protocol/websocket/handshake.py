"""The opening handshake of a WebSocket, from a request head that has been parsed already (RFC 6455 §4.2, RFC 7692 §7).

Its few lines are our own, because nothing is parsed twice: a WebSocket library would read the whole request again.
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Final

from trioserve._errors import PeerError
from trioserve._protocol.events import RequestHead
from trioserve._protocol.grammar import TOKEN

__all__ = ["DeflateTerms", "Handshake", "read_handshake"]

_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{22}==")  # 16 bytes in base64
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_OTHER_VERSION: Final = ((b"upgrade", b"websocket"), (b"connection", b"upgrade"), (b"sec-websocket-version", b"13"))

CLIENT_WINDOW_BITS: Final = 12  # what we ask for: 4 KiB of memory for an idle client instead of 32 KiB
_FLAGS: Final = ("server_no_context_takeover", "client_no_context_takeover")
_BITS: Final = frozenset(str(bits) for bits in range(8, 16))
_NO_VALUE: Final = frozenset((None,))
_OFFERED: Final[dict[str, frozenset[str | None]]] = {  # the values that a parameter of an offer may have
    "server_no_context_takeover": _NO_VALUE,
    "client_no_context_takeover": _NO_VALUE,
    "server_max_window_bits": _BITS - {"8"},  # zlib cannot compress with so small a window
    "client_max_window_bits": _BITS | _NO_VALUE,
}


@dataclass(frozen=True, slots=True)
class DeflateTerms:
    """What was agreed on for permessage-deflate (RFC 7692 §7.1).

    Attributes:
        answer: the field value that tells the client.
        server_window_bits, client_window_bits: the largest window that either side compresses with.
        server_takeover, client_takeover: that side may refer to its earlier messages.
    """

    answer: bytes
    server_window_bits: int
    client_window_bits: int
    server_takeover: bool
    client_takeover: bool


@dataclass(frozen=True, slots=True)
class Handshake:
    """A client's handshake.

    Attributes:
        accept_key: proves that this server understands WebSocket (RFC 6455 §4.2.2); empty in HTTP/2, where the
            settings of the connection do (RFC 8441 §5).
        subprotocols: those that the client speaks, the best first.
        deflate: how messages may be compressed, ``None`` when they may not be.
    """

    accept_key: bytes
    subprotocols: tuple[str, ...]
    deflate: DeflateTerms | None


def read_handshake(head: RequestHead, *, deflate: bool) -> Handshake:
    """Check the handshake in ``head``, a request that offers WebSocket; agree on compression.

    It is GET in HTTP/1.1 and CONNECT in HTTP/2.

    Raises:
        PeerError: it is none: 426 for another version, 400 for the rest (RFC 6455 §4.2.1, §4.4).
    """
    if head.meaning.content_length != 0:  # its bytes could be taken for frames
        raise PeerError(400, "a WebSocket handshake has no body")
    if _values(head, b"sec-websocket-version") != [b"13"]:
        fields = _OTHER_VERSION if head.meaning.http_version == "1.1" else _OTHER_VERSION[2:]
        raise PeerError(426, "only version 13 of WebSocket is served", fields)
    accept_key = _accept_key(head) if head.meaning.http_version == "1.1" else b""
    return Handshake(accept_key, _subprotocols(head), _agree_on_deflate(head) if deflate else None)


def _accept_key(head: RequestHead) -> bytes:
    keys = _values(head, b"sec-websocket-key")
    if len(keys) != 1 or not _KEY.fullmatch(keys[0]):
        raise PeerError(400, "missing or malformed Sec-WebSocket-Key")
    return base64.b64encode(hashlib.sha1(keys[0] + _GUID, usedforsecurity=False).digest())


def _values(head: RequestHead, wanted: bytes) -> list[bytes]:
    return [value for name, value in head.headers if name == wanted]


def _subprotocols(head: RequestHead) -> tuple[str, ...]:
    """A list's empty elements count for nothing (RFC 9110 §5.6.1.2); one other at least is required (RFC 6455 §4.3)."""
    values = _values(head, b"sec-websocket-protocol")
    offered = [name for value in values for element in value.split(b",") if (name := element.strip(b" \t"))]
    if (values and not offered) or not all(map(TOKEN.fullmatch, offered)):
        raise PeerError(400, "malformed Sec-WebSocket-Protocol")
    return tuple(name.decode("ascii") for name in offered)


def _agree_on_deflate(head: RequestHead) -> DeflateTerms | None:
    """The first offer that can be met; every other extension is declined by not being mentioned (RFC 6455 §9.1)."""
    for value in _values(head, b"sec-websocket-extensions"):
        for offer in value.decode("latin-1").split(","):
            name, *parameters = (part.strip() for part in offer.split(";"))
            if name == "permessage-deflate" and (terms := _terms(parameters)) is not None:
                return terms
    return None


def _terms(parameters: list[str]) -> DeflateTerms | None:
    """What to answer to one offer; ``None`` declines it: unknown, repeated or invalid parameters (RFC 7692 §7.1)."""
    given: dict[str, str | None] = {}
    for parameter in parameters:
        name, equals, value = parameter.partition("=")
        bits = value.strip('"') if equals else None
        if name in given or bits not in _OFFERED.get(name, ()):
            return None
        given[name] = bits
    server_bits, client_bits = int(given.get("server_max_window_bits") or 15), 15
    answer = ["permessage-deflate", *(flag for flag in _FLAGS if flag in given)]
    if "server_max_window_bits" in given:
        answer.append(f"server_max_window_bits={server_bits}")
    if "client_max_window_bits" in given:  # it can be told to use less
        client_bits = min(int(given["client_max_window_bits"] or 15), CLIENT_WINDOW_BITS)
        answer.append(f"client_max_window_bits={client_bits}")
    return DeflateTerms("; ".join(answer).encode(), server_bits, client_bits, *(flag not in given for flag in _FLAGS))
