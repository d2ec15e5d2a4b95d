"""What is read from a WebSocket, and the close codes that there are (RFC 6455 §5.5, §7.4)."""

from dataclasses import dataclass
from typing import Final, TypeAlias

__all__ = [
    "ABNORMAL", "BUSY", "INVALID_PAYLOAD", "NO_CODE", "PROTOCOL_ERROR", "TOO_BIG", "Busy", "Close", "Ping", "Pong",
    "WebSocketEvent", "is_close_code",
]  # fmt: skip

PROTOCOL_ERROR: Final = 1002
NO_CODE: Final = 1005  # a close frame without a code (RFC 6455 §7.1.5)
ABNORMAL: Final = 1006  # the connection ended without a close frame
INVALID_PAYLOAD: Final = 1007
TOO_BIG: Final = 1009

_REGISTERED: Final = frozenset((1000, 1001, 1002, 1003, *range(1007, 1015)))  # RFC 6455 §7.4.1, IANA's registry


def is_close_code(code: int) -> bool:
    """A close frame may say ``code``: IANA's registry has it, or leaves it to libraries and applications (§7.4.2)."""
    return code in _REGISTERED or 3000 <= code <= 4999


@dataclass(slots=True)  # not frozen, which would be a sixth of the time that it takes to read one
class Ping:
    """Wants to be answered by a pong with the same payload."""

    payload: bytes


@dataclass(slots=True)
class Pong:
    """The answer to a ping, or a sign of life without one."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Nothing follows: a close frame arrived, or something that no peer may send.

    Attributes:
        code: the peer's, ``NO_CODE`` without one; or what the protocol says about its mistake.
        failed: it was a mistake, to be answered with a close frame in any case.
    """

    code: int
    reason: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Busy:
    """Nothing yet, but much work was done: let others have a turn, then ask again. There is one, ``BUSY``."""


BUSY: Final = Busy()

WebSocketEvent: TypeAlias = str | bytes | Ping | Pong | Close | Busy
"""Messages are plain: most of what arrives costs no object of its own."""
