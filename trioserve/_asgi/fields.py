"""The application's response fields: checked, and told apart from those the server decides on."""

from collections.abc import Iterable
from typing import Any, Final

from trioserve._errors import AppError
from trioserve._protocol.grammar import TEXT, TOKEN

__all__ = ["CONTENT_LENGTH", "ResponseFields"]

CONTENT_LENGTH: Final = b"content-length"

_PLAIN, _LENGTH, _FRAMING, _CONNECTION, _DATE, _SERVER = range(6)
_KINDS: Final = {
    CONTENT_LENGTH: _LENGTH,
    b"transfer-encoding": _FRAMING,
    b"keep-alive": _FRAMING,
    b"connection": _CONNECTION,
    b"date": _DATE,
    b"server": _SERVER,
}
_KNOWN_NAMES_AT_MOST: Final = 1024  # names are the application's: a client that chose them shall not fill the memory


class ResponseFields:
    """Field lines ready for the wire, and what they mean for the response.

    ``transfer-encoding`` and ``keep-alive`` are the server's business and dropped (ASGI HTTP, "Response Start").

    Attributes:
        text: the field lines as they go on the wire, in the application's order.
        content_length: as declared by the application, or ``None``.
        says_close: the application asked for ``connection: close``.
        has_date, has_server: the application sent its own.

    Raises:
        AppError: a name is no token, a value has a control character, a content-length is no number.
    """

    __slots__ = ("content_length", "has_date", "has_server", "says_close", "text")

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.content_length: int | None = None
        self.says_close = self.has_date = self.has_server = False
        pieces: list[bytes] = []
        try:
            for name, value in headers:
                if (kind := _KINDS.get(name)) is None:
                    kind = _learn(name)
                if kind and self._decides(kind, value):
                    continue
                pieces += (name, b": ", value, b"\r\n")
            self.text = text = b"".join(pieces)
        except (TypeError, ValueError) as exc:
            raise AppError(f"headers are pairs of bytes: {exc}") from exc
        # Each line ends in the one CRLF that we wrote: whatever else is no text was smuggled in (RFC 9110 §5.5).
        if 2 * len(text.translate(None, TEXT)) != len(pieces):
            raise AppError("control character in a response header field")

    def _decides(self, kind: int, value: bytes) -> bool:
        """Note what a special field says; true when its line is the server's to write, or not to write."""
        if kind == _LENGTH:
            if not value.isdigit() or self.content_length not in (None, int(value)):
                raise AppError(f"content-length {value!r:.50} is no number, or contradicts another one")
            self.content_length = int(value)
        elif kind == _DATE:
            self.has_date = True
            return False
        elif kind == _SERVER:
            self.has_server = True
            return False
        elif kind == _CONNECTION:
            options = [option.strip() for option in value.lower().split(b",")]
            self.says_close = self.says_close or b"close" in options
            return b"close" in options or b"keep-alive" in options
        return True


def _learn(name: Any) -> int:
    """Check a name that was not seen before; the next time it is one look-up."""
    if not isinstance(name, bytes) or not TOKEN.fullmatch(name):
        raise AppError(f"{name!r:.100} is no name of a header field")
    kind = _KINDS.get(name.lower(), _PLAIN)
    if len(_KINDS) < _KNOWN_NAMES_AT_MOST:
        _KINDS[name] = kind
    return kind
