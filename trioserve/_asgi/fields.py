"""The application's response fields: which are whose business, and what may stand in them."""

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from trioserve._errors import AppError
from trioserve._protocol.grammar import FIELD_VALUE, TOKEN

__all__ = ["CLOSE", "DATE", "DROPPED", "LENGTH", "PLAIN", "SERVER", "Field", "Pair", "checked_fields", "iterate",
           "known_field", "read_field"]  # fmt: skip

PLAIN, LENGTH, CLOSE, DATE, SERVER, DROPPED = range(6)

Pair: TypeAlias = tuple[bytes, bytes]
"""Name and value of a field, as they were given."""

Field: TypeAlias = tuple[int, bytes, int, bytes, bytes]
"""What a field means to the server, its line in HTTP/1.1, and with ``LENGTH`` the number of bytes; its name in lower
case, and its value.

The line is made here because it is remembered with the rest. A class with names for the five would cost 3 % of a
request whose answer has new fields.
"""

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
_REMEMBERED: dict[Pair, Field] = {}
_REMEMBERED_AT_MOST: Final = 1024  # fields; then it begins anew, because values may be a client's choice
_REMEMBERED_BYTES: Final = 128  # longer lines are rarely sent twice
_NEW_EACH_TIME: Final = frozenset((b"set-cookie", b"etag", b"last-modified", b"location"))  # and so are these

# Most new values have a name that is known: its kind, in lower case, and as a line in HTTP/1.1 begins. Saves 0.7 of
# 1.3 us for each of them.
_NAMES: dict[bytes, tuple[int, bytes, bytes]] = {}
_NAMES_AT_MOST: Final = 256

known_field = _REMEMBERED.get


def read_field(header: Any) -> Field:
    """Check a pair of name and value, and say what it means to the server.

    Raises:
        AppError: the name is no token (RFC 9110 §5.1; names of HTTP/2's pseudo-header fields are not), the value has
            a character that cannot stand there (§5.5), or is no number where it has to be one (§8.6).
    """
    name, value = _name_and_value(header)
    if (known := _NAMES.get(name)) is None:
        known = _remember_name(name)
    kind, lower_name, beginning = known
    if kind == DROPPED:
        return DROPPED, b"", 0, lower_name, b""
    if type(value) is not bytes or not FIELD_VALUE.fullmatch(value):
        value = _checked_value(name, value)
    if kind == PLAIN:
        field: Field = PLAIN, beginning + value + b"\r\n", 0, lower_name, value
    else:
        field = _read_special(kind, lower_name, beginning, value)
    if len(field[1]) <= _REMEMBERED_BYTES and lower_name not in _NEW_EACH_TIME:
        if len(_REMEMBERED) >= _REMEMBERED_AT_MOST:
            _REMEMBERED.clear()
        _REMEMBERED[name, value] = field
    return field


def _remember_name(name: bytes) -> tuple[int, bytes, bytes]:
    lower_name = name.lower()
    known = _KINDS.get(lower_name, PLAIN), lower_name, name + b": "
    if len(_NAMES) < _NAMES_AT_MOST:
        _NAMES[name] = known
    return known


def _read_special(kind: int, lower_name: bytes, beginning: bytes, value: bytes) -> Field:
    """What says something to the server, too."""
    if kind == CLOSE:
        kind = _kind_of_connection(value)
    elif kind == LENGTH:
        if not value.isdigit() or len(value) > 18:  # 18 digits stay below 2**63
            raise AppError(f"content-length {value!r:.50} is no number")
        length = int(value)
        return LENGTH, b"content-length: %d\r\n" % length, length, lower_name, value
    return kind, beginning + value + b"\r\n", 0, lower_name, value


def checked_fields(headers: Iterable[Pair], *, trailers: bool = False) -> list[Pair]:
    """Fields that are all the caller's own business: of interim responses, error answers and trailers.

    Raises:
        AppError: a field is malformed, or cannot stand in a trailer section.
    """
    fields = []
    for header in iterate(headers):
        name, value = _name_and_value(header)
        if trailers and (name.lower() in _KINDS or name.lower() in _NO_TRAILERS):
            raise AppError(f"{name!r} cannot be a trailer field")
        fields.append((name, _checked_value(name, value)))
    return fields


def iterate(headers: Any) -> Iterable[Any]:
    """``headers``, when it can be iterated at all. Raises AppError otherwise."""
    if not isinstance(headers, Iterable):
        raise AppError(f"headers are pairs of bytes, not {headers!r:.100}")
    return headers


def _name_and_value(header: Any) -> tuple[bytes, Any]:
    try:
        name, value = header
    except (TypeError, ValueError):
        raise AppError(f"a header is a pair of name and value, not {header!r:.100}") from None
    if type(name) is bytes and name in _NAMES:
        return name, value
    if (name_bytes := _as_bytes(name)) is None or not TOKEN.fullmatch(name_bytes):
        raise AppError(f"{name!r:.100} is no name of a header field")
    return name_bytes, value


def _checked_value(name: bytes, value: Any) -> bytes:
    if (value_bytes := _as_bytes(value)) is None:
        raise AppError(f"the value of {name!r} is bytes, not {value!r:.100}")
    if not FIELD_VALUE.fullmatch(value_bytes):
        raise AppError(f"control character in {name!r}: {value_bytes!r:.100}")  # CR and LF split responses
    return value_bytes


def _as_bytes(text: Any) -> bytes | None:
    """What a byte string of any type holds now, ``None`` for everything else."""
    if type(text) is bytes:
        return text
    return bytes(text) if isinstance(text, (bytes, bytearray, memoryview)) else None


def _kind_of_connection(value: bytes) -> int:
    """Persistence is the server's business, other connection options are the application's (RFC 9110 §7.6.1)."""
    options = [option.strip() for option in value.lower().split(b",")]
    if b"close" in options:
        return CLOSE
    return DROPPED if b"keep-alive" in options else PLAIN
