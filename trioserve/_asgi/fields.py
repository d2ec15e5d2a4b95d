"""The application's response fields: which are whose business, and what may stand in them."""

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from trioserve._errors import AppError
from trioserve._protocol.grammar import FIELD_VALUE, TEXT, TOKEN

__all__ = [
    "CONNECTION", "DATE", "DROPPED", "LENGTH", "PLAIN", "SERVER", "Pair", "check_values", "checked_fields",
    "field_lines", "iterate", "kind_of", "known_kind", "no_pair", "read_field", "read_length", "says_close",
]  # fmt: skip

PLAIN, LENGTH, CONNECTION, DATE, SERVER, DROPPED = range(6)
"""What a field is to the server, by its name."""

Pair: TypeAlias = tuple[bytes, bytes]
"""Name and value of a field, as they were given."""

_KINDS: Final = {
    b"content-length": LENGTH,
    b"connection": CONNECTION,
    b"date": DATE,
    b"server": SERVER,
    b"transfer-encoding": DROPPED,  # the server frames the message (ASGI HTTP, "Response Start")
    b"keep-alive": DROPPED,
}

_NO_TRAILERS: Final = frozenset(  # what must be known before the body, or be trusted (RFC 9110 §6.5.1)
    (b"trailer", b"host", b"set-cookie", b"authorization", b"content-encoding", b"content-type", b"content-range",
     b"cache-control", b"expect", b"te", b"vary")
)  # fmt: skip

# An application uses the same few names, as it spells them, again and again. Checked once, they cost one look-up.
_names: dict[bytes, int] = {}
_NAMES_AT_MOST: Final = 256

known_kind = _names.get
"""The kind of a name that ``kind_of`` has met lately; ``None`` for others."""


def kind_of(name: bytes) -> int:
    """What a field of that name is to the server.

    Raises:
        AppError: it is no token (RFC 9110 §5.1; names of HTTP/2's pseudo-header fields are not).
    """
    if not TOKEN.fullmatch(name):
        raise AppError(f"{name!r:.100} is no name of a header field")
    kind = _KINDS.get(name.lower(), PLAIN)
    if len(_names) < _NAMES_AT_MOST:
        _names[name] = kind
    return kind


def read_field(name: Any, value: Any) -> tuple[int, bytes, bytes]:
    """Kind, name and value of a pair of byte strings, which may be of any type. The value is not checked further.

    Raises:
        AppError: one of them is no byte string, or the name is none.
    """
    if (name_bytes := _as_bytes(name)) is None:
        raise AppError(f"{name!r:.100} is no name of a header field")
    if (kind := kind_of(name_bytes)) == DROPPED:
        return kind, name_bytes, b""
    if (value_bytes := _as_bytes(value)) is None:
        raise AppError(f"the value of {name!r} is bytes, not {value!r:.100}")
    return kind, name_bytes, value_bytes


def no_pair(header: Any) -> AppError:
    """The error for what cannot be unpacked."""
    return AppError(f"a header is a pair of name and value, not {header!r:.100}")


def read_length(value: bytes) -> int:
    """The number of bytes that a content-length declares. Raises AppError if it is none (RFC 9110 §8.6)."""
    if not value.isdigit() or len(value) > 18:  # 18 digits stay below 2**63
        raise AppError(f"content-length {value!r:.50} is no number")
    return int(value)


def says_close(value: bytes) -> bool | None:
    """Whether a Connection field wants the end of the connection, or its persistence; ``None`` for other options.

    Persistence is the server's business, other connection options are the application's (RFC 9110 §7.6.1).
    """
    options = [option.strip() for option in value.lower().split(b",")]
    if b"close" in options:
        return True
    return False if b"keep-alive" in options else None


def field_lines(fields: list[Pair]) -> bytes:
    """The fields as HTTP/1.1 has them, each with its line end.

    Raises:
        AppError: a value has a character that cannot stand there (RFC 9110 §5.5): CR and LF split responses.
    """
    lines = b"\r\n".join([*map(b": ".join, fields), b""])
    # One pass deletes what may stand in a line, and leaves the line ends: 0.2 us instead of 0.1 for each value
    # (browser_mix).
    if lines.translate(None, TEXT) != b"\r\n" * len(fields):
        raise _control_character(fields)
    return lines


def check_values(fields: list[Pair]) -> None:
    """Raises AppError for a character that cannot stand in a value, as ``field_lines`` does."""
    if b"".join([value for _, value in fields]).translate(None, TEXT):
        raise _control_character(fields)


def _control_character(fields: list[Pair]) -> AppError:
    name, value = next(field for field in fields if not FIELD_VALUE.fullmatch(field[1]))
    return AppError(f"control character in {name!r}: {value!r:.100}")


def checked_fields(headers: Iterable[Pair], *, trailers: bool = False) -> list[Pair]:
    """Fields that are all the caller's own business: of interim responses, error answers and trailers.

    Raises:
        AppError: a field is malformed, or cannot stand in a trailer section.
    """
    fields = []
    for header in iterate(headers):
        try:
            name, value = header
        except (TypeError, ValueError):
            raise no_pair(header) from None
        kind, name, value = read_field(name, value)
        if trailers and (kind != PLAIN or name.lower() in _NO_TRAILERS):
            raise AppError(f"{name!r} cannot be a trailer field")
        fields.append((name, value))
    check_values(fields)
    return fields


def iterate(headers: Any) -> Iterable[Any]:
    """``headers``, when it can be iterated at all. Raises AppError otherwise."""
    if not isinstance(headers, Iterable):
        raise AppError(f"headers are pairs of bytes, not {headers!r:.100}")
    return headers


def _as_bytes(text: Any) -> bytes | None:
    """What a byte string of any type holds now, ``None`` for everything else."""
    if type(text) is bytes:
        return text
    return bytes(text) if isinstance(text, (bytes, bytearray, memoryview)) else None
