"""Requests, messages and errors as parts of a line: cut, on one line, and without secrets."""

from collections.abc import Mapping
from typing import Any, Final

from trioserve._config.addresses import HostPort
from trioserve._masking import MASK, is_secret
from trioserve._types import Scope

__all__ = ["shown_client", "shown_error", "shown_fields", "shown_message", "shown_request", "shown_text"]

SHOWN: Final = 100  # bytes or characters of a body, a text or any other value


def shown_client(scope: Scope) -> str:
    """A connection by its client, which on a unix socket has no name."""
    if scope["client"] is None:
        return "unix socket" if scope["server"] is not None and scope["server"][1] is None else "unknown client"
    host, port = scope["client"]
    return host if port is None else str(HostPort(host, port))


def shown_request(scope: Scope) -> str:
    """``GET /tea HTTP/1.1``; of a WebSocket, its handshake."""
    target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    return f"{scope.get('method', 'websocket')} {_printable(target)} HTTP/{scope['http_version']}"


def shown_message(message: Any, most: int = SHOWN) -> str:
    """A message, whether it is one or not: the rules are checked elsewhere. Values have ``most`` characters."""
    if not isinstance(message, Mapping):
        return _cut(message, most)
    values = [f"{key}={shown_fields(value, most) if key == 'headers' else _cut(value, most)}"
              for key, value in message.items() if key != "type"]
    return " ".join([str(message.get("type", "a message without type")), *values])


def shown_fields(headers: Any, most: int = SHOWN) -> str:
    """Names and values, without secrets. What is no list is not looked into: it could be there to be read once."""
    if not isinstance(headers, (list, tuple)):
        return _cut(headers, most)
    try:
        pairs = [(_printable(bytes(name)), _printable(bytes(value))) for name, value in headers]
    except (TypeError, ValueError):
        return _cut(headers, most)
    fields = ", ".join(f"{name}: {MASK if is_secret(name) else _shortened(value, most)}" for name, value in pairs)
    return f"[{fields}]"


def shown_error(exc: BaseException) -> str:
    """Its class and what it says."""
    return _shortened(f"{type(exc).__name__}: {_printable(str(exc).encode('latin-1', 'backslashreplace'))}", SHOWN)


def shown_text(text: str) -> str:
    """On one line, and with nothing that a terminal would obey."""
    return text if text.isprintable() else ascii(text)[1:-1]


def _cut(value: Any, most: int) -> str:
    """As Python writes it, its beginning and its length if that is not all."""
    if isinstance(value, (bytearray, memoryview)):
        value = bytes(value)
    if isinstance(value, (bytes, str)) and len(value) > most:
        unit = "bytes" if isinstance(value, bytes) else "characters"
        return f"{value[:most]!r}... ({len(value)} {unit})"
    return repr(value) if isinstance(value, (bytes, str)) else _shortened(repr(value), most)


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}..."


def _printable(data: bytes) -> str:
    return shown_text(data.decode("latin-1"))
