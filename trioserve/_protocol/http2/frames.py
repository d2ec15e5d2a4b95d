"""Frames of HTTP/2, as far as they are read and written outside an engine (RFC 9113 §4, §6)."""

from collections.abc import Callable
from typing import Final

from trioserve._errors import PeerError
from trioserve._types import Fields

__all__ = [
    "ACK", "CANCEL", "COMPRESSION_ERROR", "CONTINUATION", "DATA", "END_HEADERS", "END_STREAM", "ENHANCE_YOUR_CALM",
    "FRAME_BYTES", "FRAME_HEADER_BYTES", "FRAME_SIZE_ERROR", "GOAWAY", "HEADERS", "HIGHEST_STREAM_ID",
    "INTERNAL_ERROR", "NO_ERROR", "PADDED", "PREFACE", "PRIORITY", "PROTOCOL_ERROR", "REFUSED_STREAM",
    "RST_STREAM", "SETTINGS", "STREAM_CLOSED", "FieldSectionTooLarge", "Http2Error", "end_stream_frame",
    "goaway_frame", "last_fields_frames", "ping_frame", "settings_frame", "whole_frames", "window_update_frame",
]  # fmt: skip

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113 §3.4

# RFC 9113 §6
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM = ACK = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
FRAME_HEADER_BYTES: Final = 9
HIGHEST_STREAM_ID: Final = 2**31 - 1
FRAME_BYTES: Final = 2**14  # of a payload, which every peer takes (RFC 9113 §6.5.2)

# RFC 9113 §7
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR = 0, 1, 2, 5, 6
REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 7, 8, 9, 11


class Http2Error(PeerError):
    """The connection is only good for a GOAWAY with ``code`` (RFC 9113 §5.4.1)."""

    def __init__(self, code: int, reason: str, *, status: int = 400, limit: str = "") -> None:
        super().__init__(status, reason, limit=limit)
        self.code = code


class FieldSectionTooLarge(Http2Error):
    """So large that nobody reads it, and therefore none that comes after it (RFC 9113 §4.3).

    Its stream is a new one, which can be answered.
    """

    def __init__(self, stream_id: int, limit_bytes: int) -> None:
        super().__init__(
            ENHANCE_YOUR_CALM, f"request head over the limit of {limit_bytes} bytes", status=431,
            limit="limit_header_bytes",
        )  # fmt: skip
        self.stream_id = stream_id


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


def last_fields_frames(stream_id: int, fields: Fields, table_bytes: int) -> bytes:
    """The end of a stream with fields; the tables of names stay as they are (RFC 7541 §6.2.2).

    ``table_bytes``: the size of our table. It is said again, because the client may have asked for another one, which
    the next field section has to confirm (RFC 7541 §4.2).
    """
    texts = [b"\x00" + _text(name) + _text(value) for name, value in fields]
    block = _integer(table_bytes, 5, 0x20) + b"".join(texts)
    parts = [block[at : at + FRAME_BYTES] for at in range(0, len(block), FRAME_BYTES)]
    kinds = [(HEADERS, END_STREAM)] + [(CONTINUATION, 0)] * (len(parts) - 1)
    kinds[-1] = kinds[-1][0], kinds[-1][1] | END_HEADERS
    return b"".join(_frame(kind, stream_id, part, flags) for (kind, flags), part in zip(kinds, parts, strict=True))


def whole_frames(read: Callable[[int], bytes], amount: int) -> bytes:
    """What ``read`` returns of ``amount`` bytes, and what is missing then of the last frame, or field section.

    Engines cut wherever ``amount`` ends; after whole ones somebody else's frames can follow.
    """
    data = read(amount)
    if len(data) >= amount:
        while (missing := _missing_bytes(data)) and (rest := read(missing)):
            data += rest
    return data


def _missing_bytes(frames: bytes) -> int:
    """Of the last frame; as long as its header is not whole, of that. A field section may go on in the next frame."""
    begin = end = 0
    while end + FRAME_HEADER_BYTES <= len(frames):
        begin, end = end, end + FRAME_HEADER_BYTES + int.from_bytes(frames[end : end + 3], "big")
    if end < len(frames) or (end == len(frames) and _goes_on(frames[begin + 3], frames[begin + 4])):
        end += FRAME_HEADER_BYTES
    return end - len(frames)


def _goes_on(kind: int, flags: int) -> bool:
    return kind in (HEADERS, CONTINUATION) and not flags & END_HEADERS


def _text(text: bytes) -> bytes:
    """Without Huffman's code (RFC 7541 §5.2)."""
    return _integer(len(text), 7) + text


def _integer(value: int, bits: int, first: int = 0) -> bytes:
    """RFC 7541 §5.1; ``first``: the bits before it in its first byte."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((first | value,))
    octets, value = [first | most], value - most
    while value >= 0x80:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*octets, value))
