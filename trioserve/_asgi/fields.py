"""The application's response fields: which are whose business, and what may stand in them."""

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from trioserve._errors import AppError
from trioserve._protocol.grammar import FIELD_VALUE, TOKEN

__all__ = ["CLOSE", "DATE", "DROPPED", "LENGTH", "PLAIN", "SERVER", "Field", "field_lines", "iterate", "known_field",
           "read_field"]  # fmt: skip

PLAIN, LENGTH, CLOSE, DATE, SERVER, DROPPED = range(6)

Field: TypeAlias = tuple[int, bytes, int]
"""What a field means to the server, its line on the wire, and with ``LENGTH`` the number of bytes."""

_KINDS: Final = {
    b"content-length": LENGTH,
    b"connection": CLOSE,
    b"date": DATE,
    b"server": SERVER,
    b"transfer-encoding": DROPPED,  # the server frames the message (ASGI HTTP, "Response Start")
    b"keep-alive": DROPPED,
}

_NO_TRAILERS: Final = frozenset(  # what must be known before the body, or be trusted (RFC 9110 §6.5.1)
    (b"trailer", b"host", b"set-cookie", b"authorization", b"content-encoding", b"content-type", b"content-range",
     b"cache-control", b"expect", b"te", b"vary")
)  # fmt: skip

# Applications send the same few fields again and again: checked once, each costs one look-up. Saves 0.6 of 2.0 us.
_REMEMBERED: dict[tuple[bytes, bytes], Field] = {}
_REMEMBERED_AT_MOST: Final = 1024  # fields; then it begins anew, because values may be a client's choice
_REMEMBERED_BYTES: Final = 128  # longer lines, and cookies, are rarely sent twice

known_field = _REMEMBERED.get


def read_field(header: Any) -> Field:
    """Check a pair of name and value, and say what it means to the server.

    Raises:
        AppError: the name is no token (RFC 9110 §5.1; names of HTTP/2's pseudo-header fields are not), the value has
            a character that cannot stand there (§5.5), or is no number where it has to be one (§8.6).
    """
    name, value = _name_and_value(header)
    lower_name = name.lower()
    kind = _KINDS.get(lower_name, PLAIN)
    if kind == DROPPED:
        return DROPPED, b"", 0
    line, length = _line(name, value), 0
    if kind == LENGTH:
        if not value.isdigit() or len(value) > 18:  # 18 digits stay below 2**63
            raise AppError(f"content-length {value!r:.50} is no number")
        length = int(value)
        line = b"content-length: %d\r\n" % length
    elif kind == CLOSE:
        kind = _kind_of_connection(value)
    if len(line) <= _REMEMBERED_BYTES and lower_name != b"set-cookie":
        if len(_REMEMBERED) >= _REMEMBERED_AT_MOST:
            _REMEMBERED.clear()
        _REMEMBERED[name, value] = kind, line, length
    return kind, line, length


def field_lines(headers: Iterable[tuple[bytes, bytes]], *, trailers: bool = False) -> bytes:
    """Field lines that are all the caller's own business: of interim responses, error answers and trailers.

    Raises:
        AppError: a field is malformed, or cannot stand in a trailer section.
    """
    lines = []
    for header in iterate(headers):
        name, value = _name_and_value(header)
        if trailers and (name.lower() in _KINDS or name.lower() in _NO_TRAILERS):
            raise AppError(f"{name!r} cannot be a trailer field")
        lines.append(_line(name, value))
    return b"".join(lines)


def iterate(headers: Any) -> Iterable[Any]:
    """``headers``, when it can be iterated at all. Raises AppError otherwise."""
    if not isinstance(headers, Iterable):
        raise AppError(f"headers are pairs of bytes, not {headers!r:.100}")
    return headers


def _name_and_value(header: Any) -> tuple[bytes, bytes]:
    try:
        name, value = header
    except (TypeError, ValueError):
        raise AppError(f"a header is a pair of name and value, not {header!r:.100}") from None
    if not isinstance(name, bytes) or not TOKEN.fullmatch(name):
        raise AppError(f"{name!r:.100} is no name of a header field")
    return name, value


def _line(name: bytes, value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise AppError(f"the value of {name!r} is bytes, not {value!r:.100}")
    if not FIELD_VALUE.fullmatch(value):
        raise AppError(f"control character in {name!r}: {value!r:.100}")  # CR and LF split responses
    return name + b": " + value + b"\r\n"


def _kind_of_connection(value: bytes) -> int:
    """Persistence is the server's business, other connection options are the application's (RFC 9110 §7.6.1)."""
    options = [option.strip() for option in value.lower().split(b",")]
    if b"close" in options:
        return CLOSE
    return DROPPED if b"keep-alive" in options else PLAIN
