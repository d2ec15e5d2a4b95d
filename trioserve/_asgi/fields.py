"""The application's response fields: which are whose business, and what may stand in them."""

from collections.abc import Iterable
from typing import Any, Final

from trioserve._errors import AppError
from trioserve._protocol.grammar import TOKEN

__all__ = [
    "CONNECTION", "DATE", "DROPPED", "LENGTH", "PLAIN", "SERVER", "check_lines", "field_lines", "kind_of",
    "known_kind",
]  # fmt: skip

PLAIN, LENGTH, CONNECTION, DATE, SERVER, DROPPED = range(6)

# What a field means to the server, by its name. Other names are added as applications use them.
_KINDS: Final = {
    b"content-length": LENGTH,
    b"connection": CONNECTION,
    b"date": DATE,
    b"server": SERVER,
    b"transfer-encoding": DROPPED,  # the server frames the message (ASGI HTTP, "Response Start")
    b"keep-alive": DROPPED,
}
_KINDS_AT_MOST: Final = 1024  # names are the application's: a client that chose them shall not fill the memory

_NO_TRAILERS: Final = frozenset(  # what must be known before the body, or be trusted (RFC 9110 §6.5.1)
    (b"trailer", b"host", b"set-cookie", b"authorization", b"content-encoding", b"content-type", b"content-range",
     b"cache-control", b"expect", b"te", b"vary")
)  # fmt: skip

known_kind = _KINDS.get


def kind_of(name: Any) -> int:
    """Check a field name, and say what the field means to the server.

    Raises:
        AppError: it is no token (RFC 9110 §5.1); pseudo-header fields of HTTP/2 are not, for example.
    """
    if not isinstance(name, bytes) or not TOKEN.fullmatch(name):
        raise AppError(f"{name!r:.100} is no name of a header field")
    kind = _KINDS.get(name.lower(), PLAIN)
    if len(_KINDS) < _KINDS_AT_MOST:
        _KINDS[name] = kind  # the next time it is one look-up
    return kind


def check_lines(text: bytes, lines: int) -> None:
    """Each of ``lines`` ends in the one CRLF that we wrote: any other CR or LF, and NUL, was smuggled in.

    Raises:
        AppError: there is one in a value (RFC 9110 §5.5; response splitting).
    """
    if text.count(b"\r") != lines or text.count(b"\n") != lines or b"\0" in text:
        raise AppError("CR, LF or NUL in a response header field")


def field_lines(headers: Iterable[tuple[bytes, bytes]], *, trailers: bool = False) -> bytes:
    """Field lines that are all the caller's own business: of interim responses, error answers and trailers.

    Raises:
        AppError: a field is malformed, or cannot stand in a trailer section.
    """
    pieces: list[bytes] = []
    try:
        for name, value in headers:
            kind = kind_of(name)
            if trailers and (kind != PLAIN or name.lower() in _NO_TRAILERS):
                raise AppError(f"{name!r} cannot be a trailer field")
            pieces += (name, b": ", value, b"\r\n")
        text = b"".join(pieces)
    except (TypeError, ValueError) as exc:
        raise AppError(f"headers are pairs of bytes: {exc}") from exc
    check_lines(text, len(pieces) // 4)
    return text
