"""The application's response fields: checked, and told apart from those the server decides on."""

from collections.abc import Iterable
from typing import Any, Final

from trioserve._errors import AppError
from trioserve._protocol.grammar import TEXT, TOKEN

__all__ = ["CONTENT_LENGTH", "ResponseFields"]

CONTENT_LENGTH: Final = b"content-length"

_PLAIN, _LENGTH, _FRAMING, _CONNECTION, _DATE, _SERVER, _ROUTING = range(7)
_KINDS: Final = {
    CONTENT_LENGTH: _LENGTH,
    b"transfer-encoding": _FRAMING,
    b"connection": _CONNECTION,
    b"keep-alive": _FRAMING,
    b"date": _DATE,
    b"server": _SERVER,
    b"host": _ROUTING,
    b"trailer": _ROUTING,
    b"set-cookie": _ROUTING,
    b"authorization": _ROUTING,
    b"content-encoding": _ROUTING,
    b"content-type": _ROUTING,
    b"content-range": _ROUTING,
}
_KNOWN_NAMES_AT_MOST: Final = 1024  # names are the application's: a client that chose them shall not fill the memory


class ResponseFields:
    """Field lines ready for the wire, and what they mean for the response.

    ``transfer-encoding`` and ``keep-alive`` are the server's business and dropped (ASGI HTTP, "Response Start").

    Attributes:
        lines: pieces of the field lines, in the application's order.
        content_length: as declared by the application, or ``None``.
        says_close: the application asked for ``connection: close``.
        has_date, has_server: the application sent its own.
        forbidden_in_trailers: there is a field that must not stand in a trailer section (RFC 9110 §6.5.1).
        trailer_lines: collects trailer fields until the last of them is there.

    Raises:
        AppError: a name is no token, a value has a control character, a content-length is no number.
    """

    __slots__ = (
        "content_length", "forbidden_in_trailers", "has_date", "has_server", "lines", "says_close", "trailer_lines",
    )  # fmt: skip

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.content_length: int | None = None
        self.says_close = False
        self.has_date = False
        self.has_server = False
        self.forbidden_in_trailers = False
        self.trailer_lines: list[bytes] = []
        lines = self.lines = []
        fields = 0
        try:
            for name, value in headers:
                if (kind := _KINDS.get(name)) is None:
                    name, kind = _learn(name)
                if kind and self._keeps(kind, value):
                    continue
                lines += (name, b": ", value, b"\r\n")
                fields += 1
            text = b"".join(lines)
        except (TypeError, ValueError) as exc:
            raise AppError(f"headers are pairs of bytes: {exc}") from exc
        # Each line ends in the one CRLF that we wrote: whatever else is no text was smuggled in (RFC 9110 §5.5).
        if len(text.translate(None, TEXT)) != 2 * fields:
            raise AppError("control character in a response header field")

    def _keeps(self, kind: int, value: bytes) -> bool:
        """Note what a special field says; true when its line is the server's to write, or not to write."""
        if kind == _ROUTING:
            self.forbidden_in_trailers = True
            return False
        if kind == _DATE:
            self.has_date = True
            return False
        if kind == _SERVER:
            self.has_server = True
            return False
        self.forbidden_in_trailers = True
        if kind == _LENGTH:
            self._note_content_length(value)
        elif kind == _CONNECTION:
            options = [option.strip() for option in value.lower().split(b",")]
            self.says_close = self.says_close or b"close" in options
            return b"close" in options or b"keep-alive" in options
        return True

    def _note_content_length(self, value: bytes) -> None:
        if not value.isdigit() or self.content_length not in (None, int(value)):
            raise AppError(f"content-length {value!r:.50} is no number, or contradicts another one")
        self.content_length = int(value)


def _learn(name: Any) -> tuple[bytes, int]:
    """Check a name that was not seen before; the next time it is one look-up."""
    if not isinstance(name, bytes) or not TOKEN.fullmatch(name):
        raise AppError(f"{name!r:.100} is no name of a header field")
    kind = _KINDS.get(name.lower(), _PLAIN)
    if len(_KINDS) < _KNOWN_NAMES_AT_MOST:
        _KINDS[name] = kind
    return name, kind
