"""What the proxies in front of the server say about a request: X-Forwarded-* fields, or Forwarded (RFC 7239).

Each proxy adds what it knows on the right, so the right end is what our own peer has written, and the left end may
be anybody's. Reading starts at the right and goes on to the left as long as the hop just read is trusted itself.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from trioserve._protocol.grammar import HOST
from trioserve._root_path import read_prefix
from trioserve._trust import FORWARDED, read_ip
from trioserve._types import Fields

__all__ = ["REMEMBERED", "Origin", "read_forwarded", "read_x_forwarded", "split_host"]

REMEMBERED: Final = 1024  # addresses; clients come back, and reading one takes 5 us
Node: TypeAlias = tuple[str, int | None]
Trusts: TypeAlias = Callable[[str], bool]


@dataclass(slots=True)
class Origin:
    """Where a request came from, and what was asked for, as the outermost trusted proxy saw it.

    Attributes:
        client: address and port, 0 if that is not known; ``None`` when the proxies hide it.
        scheme: ``"http"`` or ``"https"``; this and what follows is ``None`` when nothing was said.
        host: of the request's Host field, without port.
        port: that goes with it.
        prefix: path that the proxy has removed, in the form of ``read_prefix``.
    """

    client: Node | None
    scheme: str | None = None
    host: str | None = None
    port: int | None = None
    prefix: str | None = None


# Nodes (RFC 7239 §6; X-Forwarded-For has the same in practice, and IPv6 without brackets too).

_UNKNOWN: Final = re.compile(
    r"(?:unknown|_[A-Za-z0-9._-]{1,100})(?::[0-9]{1,5}|:_[A-Za-z0-9._-]{1,100})?", re.IGNORECASE
)
_WITH_PORT: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::(?:([0-9]{1,5})|_[A-Za-z0-9._-]{1,100}))?")


@lru_cache(maxsize=REMEMBERED)
def _read_node(text: str) -> Node | None:
    """An address; ``None`` for one that is unknown or hidden on purpose. Raises ValueError for anything else."""
    if _UNKNOWN.fullmatch(text):
        return None
    match = _WITH_PORT.fullmatch(text)
    if match is None:
        host, port = text, 0
        if "%" in host:  # a zone means something on that proxy's machine only
            raise ValueError("a zone")
    else:
        host, port = match[1] or match[2], int(match[3] or 0)
        if port > 65535 or (match[1] is not None and ":" not in host):
            raise ValueError("no port, or no IPv6 address")
    return str(read_ip(host)), port


@dataclass(slots=True)
class _Walk:
    """From hop to hop, as far as they are trusted.

    Attributes:
        client: who is behind the last trusted hop.
        place: how many trusted hops told of another one before it.
    """

    client: Node | None
    place: int = 0

    def is_over(self, node: str, place: int, trusts: Trusts) -> bool:
        """Take the next hop's word for who is behind it; true when that one's own word does not count."""
        try:
            found = _read_node(node)
        except ValueError:
            return True  # nonsense, so the hop that said it is the last that is known
        self.client, self.place = found, place
        return found is None or not trusts(found[0])


# Parts.

_SCHEMES: Final = {"http": "http", "ws": "http", "https": "https", "wss": "https"}


def _read_scheme(text: str) -> str | None:
    """A proxy may name the scheme of a WebSocket; which one it is the request says."""
    return _SCHEMES.get(text.lower())


def split_host(text: str) -> tuple[str | None, int | None]:
    """Host and port of a Host field's value; nothing of one that is malformed."""
    if not text or not HOST.fullmatch(text.encode("latin-1")):
        return None, None
    host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not colon:
        return text, None
    return (host, _read_port(port)) if host else (None, None)


def _read_port(text: str) -> int | None:
    """A port, from 1 on."""
    if not re.fullmatch("[0-9]{1,5}", text) or not 0 < int(text) <= 65535:
        return None
    return int(text)


def _read_prefix(text: str) -> str | None:
    if not text:
        return None
    try:
        return read_prefix(text.encode("latin-1").decode())
    except ValueError:
        return None


# X-Forwarded-*.


def read_x_forwarded(fields: Fields, believed: frozenset[bytes], trusts: Trusts, peer: Node | None) -> Origin:
    """The origin by those X-Forwarded fields that are ``believed``, sent by ``peer``, which is trusted."""
    said: dict[bytes, str] = {}
    for name, value in fields:
        if name in believed:
            text = value.decode("latin-1")
            said[name] = f"{said[name]},{text}" if name in said else text
    walk = _Walk(peer)
    if hops := said.get(b"x-forwarded-for"):
        for place, node in enumerate(reversed(_items(hops))):
            if walk.is_over(node, place, trusts):
                break
    origin = Origin(walk.client)
    if text := said.get(b"x-forwarded-proto", ""):
        origin.scheme = _read_scheme(_pick(text, walk.place))
    if text := said.get(b"x-forwarded-host", ""):
        origin.host, origin.port = split_host(_pick(text, walk.place))
    if text := said.get(b"x-forwarded-port", ""):
        origin.port = _read_port(_pick(text, walk.place)) or origin.port
    if text := said.get(b"x-forwarded-prefix", ""):
        origin.prefix = _read_prefix(_pick(text, walk.place))
    return origin


def _items(text: str) -> list[str]:
    """The items of a list; empty ones do not count (RFC 9110 §5.6.1)."""
    if "," not in text:
        return [text.strip(" \t")]
    return [item for part in text.split(",") if (item := part.strip(" \t"))]


def _pick(text: str, place: int) -> str:
    """The item that the hop at this place has written; proxies that do not append but replace leave fewer of them."""
    items = _items(text)
    return items[max(-len(items), -1 - place)] if items else ""


# Forwarded (RFC 7239).

_TOKEN: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PAIR: Final = re.compile(rf'({_TOKEN})=(?:({_TOKEN})|"((?:[^"\\]|\\.)*)")')


def read_forwarded(fields: Fields, trusts: Trusts, peer: Node | None) -> Origin:
    """The origin by the Forwarded fields, sent by ``peer``, which is trusted.

    Scheme and host are those of the outermost trusted hop that names them.
    """
    value = ", ".join(value.decode("latin-1") for name, value in fields if name == FORWARDED)
    walk = _Walk(peer)
    scheme = host = port = None
    for place, text in enumerate(_elements_from_the_right(value)):
        element = _read_element(text)
        if element is None:
            break  # as a node that is nonsense
        scheme = _read_scheme(element.get("proto", "")) or scheme
        if (named := split_host(element.get("host", "")))[0] is not None:
            host, port = named
        if "for" not in element or walk.is_over(element["for"], place, trusts):
            break
    return Origin(walk.client, scheme, host, port)


def _elements_from_the_right(value: str) -> Iterator[str]:
    """The elements of the list, last first; whatever a stranger wrote on the left cannot change how they are cut.

    An element that begins inside a quoted string has an odd number of quotes, so a well-formed one is cut rightly.
    """
    end, quoted = len(value), False
    for mark in reversed(list(re.finditer('[",]', value))):
        at = mark.start()
        if mark[0] == '"':
            quoted = not quoted or _is_escaped(value, at)
        elif not quoted:
            if element := value[at + 1 : end].strip(" \t"):
                yield element
            end = at
    if element := value[:end].strip(" \t"):
        yield element


def _is_escaped(value: str, at: int) -> bool:
    """An odd number of backslashes comes before."""
    first = at
    while first and value[first - 1] == "\\":
        first -= 1
    return (at - first) % 2 == 1


def _read_element(text: str) -> dict[str, str] | None:
    """Parameters by their names in lower case, each once (RFC 7239 §4); ``None`` if that is not what it is."""
    element: dict[str, str] = {}
    at = 0
    while match := _PAIR.match(text, at):
        name, token, quoted = match.groups()
        if name.lower() in element:
            return None
        element[name.lower()] = token if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        at = match.end()
        if at == len(text):
            return element
        if text[at] != ";":
            return None
        at += 1
        if at == len(text):  # a semicolon at the end is harmless, and common
            return element
    return None
