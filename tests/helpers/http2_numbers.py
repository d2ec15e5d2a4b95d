"""Numbers of HTTP/2 that tests compare with or send: error codes (RFC 9113 §7), settings (§6.5.2), streams (§5.1.1)."""

from typing import Final

__all__ = [
    "CANCEL", "ENHANCE_YOUR_CALM", "HEADER_TABLE_SIZE", "HIGHEST_STREAM", "INITIAL_WINDOW_SIZE", "INTERNAL_ERROR",
    "NO_ERROR", "PROTOCOL_ERROR", "REFUSED_STREAM",
]

NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
INTERNAL_ERROR: Final = 2
REFUSED_STREAM: Final = 7
CANCEL: Final = 8
ENHANCE_YOUR_CALM: Final = 11

HEADER_TABLE_SIZE: Final = 1
INITIAL_WINDOW_SIZE: Final = 4

HIGHEST_STREAM: Final = 2**31 - 1
