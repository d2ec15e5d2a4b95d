"""Frames of HTTP/2, as far as they are read and written outside an engine (RFC 9113 §4, §6)."""

from typing import Final

from trioserve._errors import PeerError

__all__ = [
    "ACK", "CANCEL", "COMPRESSION_ERROR", "CONTINUATION", "DATA", "END_HEADERS", "END_STREAM", "ENHANCE_YOUR_CALM",
    "FRAME_HEADER_BYTES", "FRAME_SIZE_ERROR", "HEADERS", "HIGHEST_STREAM_ID", "INTERNAL_ERROR", "NO_ERROR", "PREFACE",
    "PRIORITY", "PROTOCOL_ERROR", "REFUSED_STREAM", "RST_STREAM", "SETTINGS", "STREAM_CLOSED", "Http2Error",
    "end_stream_frame", "goaway_frame", "ping_frame", "settings_frame", "window_update_frame",
]  # fmt: skip

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113 §3.4

# RFC 9113 §6
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM = ACK = 0x1
END_HEADERS: Final = 0x4
FRAME_HEADER_BYTES: Final = 9
HIGHEST_STREAM_ID: Final = 2**31 - 1

# RFC 9113 §7
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR = 0, 1, 2, 5, 6
REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 7, 8, 9, 11

class Http2Error(PeerError):
    """The connection is only good for a GOAWAY with ``code`` (RFC 9113 §5.4.1)."""

    def __init__(self, code: int, reason: str, *, limit: str = "") -> None:
        super().__init__(400, reason, limit=limit)
        self.code = code


def _frame(kind: int, stream_id: int, payload: bytes, flags: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream_id.to_bytes(4, "big") + payload


def settings_frame(settings: dict[int, int]) -> bytes:
    """RFC 9113 §6.5."""
    pairs = [name.to_bytes(2, "big") + value.to_bytes(4, "big") for name, value in settings.items()]
    return _frame(SETTINGS, 0, b"".join(pairs))


def window_update_frame(increment: int) -> bytes:
    """For the whole connection (RFC 9113 §6.9)."""
    return _frame(WINDOW_UPDATE, 0, increment.to_bytes(4, "big"))


def ping_frame(opaque_data: bytes) -> bytes:
    """``opaque_data``: 8 bytes, which come back (RFC 9113 §6.7)."""
    return _frame(PING, 0, opaque_data)


def goaway_frame(last_stream_id: int, code: int) -> bytes:
    """RFC 9113 §6.8."""
    return _frame(GOAWAY, 0, last_stream_id.to_bytes(4, "big") + code.to_bytes(4, "big"))


def end_stream_frame(stream_id: int) -> bytes:
    """DATA without data (RFC 9113 §6.1)."""
    return _frame(DATA, stream_id, b"", END_STREAM)
