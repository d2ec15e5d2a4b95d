"""WebSocket frames as a client makes and reads them, bit by bit (RFC 6455 §5.2)."""

import struct
from dataclasses import dataclass
from typing import Any, Final

from trioserve._protocol import RequestHead
from trioserve._protocol.events import Meaning
from trioserve._protocol.websocket.codec import BUSY, Close, Ping, Pong, WebSocketCodec

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "KEY",
    "PING",
    "PONG",
    "TEXT",
    "Frame",
    "close_frame",
    "events_of",
    "every_way",
    "frame",
    "handshake_head",
    "read_frames",
]  # fmt: skip

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY: Final = b"dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 §1.3, whose answer is s3pPLMBiTxaQ9kYGzzhZRbK+xOo=


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes | None = b"\x11\x22\x33\x44",
    length: int | None = None, width: int | None = None,
) -> bytes:
    """A frame; ``length`` says another length than the payload's, ``width`` how many bytes say it (0, 2 or 8)."""
    size = len(payload) if length is None else length
    if width is None:
        width = 0 if size < 126 else 2 if size < 0x10000 else 8
    short = {0: size, 2: 126, 8: 127}[width]
    extended = size.to_bytes(width, "big") if width else b""
    head = bytes((fin << 7 | rsv << 4 | opcode, (mask is not None) << 7 | short)) + extended
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


def close_frame(code: int | None = None, reason: bytes = b"") -> bytes:
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of a server: never masked (RFC 6455 §5.1)."""

    opcode: int
    payload: bytes
    fin: bool = True
    rsv: int = 0

    @property
    def close_code(self) -> int:
        assert self.opcode == CLOSE, self
        return struct.unpack("!H", self.payload[:2])[0] if self.payload else 1005

    @property
    def close_reason(self) -> str:
        return self.payload[2:].decode()


def read_frames(wire: bytes) -> list[Frame]:
    """All frames in ``wire``, which ends with one."""
    frames: list[Frame] = []
    while wire:
        assert not wire[1] & 0x80, "a server does not mask"
        size, start = wire[1] & 0x7F, 2
        if size == 126:
            size, start = int.from_bytes(wire[2:4], "big"), 4
            assert size > 125, "the shortest form is the only one"
        elif size == 127:
            size, start = int.from_bytes(wire[2:10], "big"), 10
            assert size > 0xFFFF, "the shortest form is the only one"
        assert len(wire) >= start + size, "cut short"
        frames.append(Frame(wire[0] & 0x0F, wire[start : start + size], bool(wire[0] & 0x80), wire[0] >> 4 & 7))
        wire = wire[start + size :]
    return frames


def events_of(codec: WebSocketCodec, *pieces: bytes) -> list[Any]:
    """What a codec makes of ``pieces``."""
    events: list[Any] = []
    for piece in pieces:
        codec.receive_data(piece)
        while (event := codec.next_event()) is not None:
            if event is not BUSY:
                events.append(event)
    return events


def every_way(wire: bytes, *, max_size: int = 1 << 24) -> list[Any]:
    """The events in ``wire``, which are the same whole, byte by byte, and cut in two anywhere."""
    whole = events_of(WebSocketCodec(max_size), wire)
    cuts = range(1, len(wire)) if len(wire) < 400 else (1, 2, 3, 5, 6, 7, 13, 14, 15, len(wire) // 2, len(wire) - 1)
    for cut in cuts:
        assert events_of(WebSocketCodec(max_size), wire[:cut], wire[cut:]) == whole, cut
    if len(wire) < 400:
        assert events_of(WebSocketCodec(max_size), *(wire[i : i + 1] for i in range(len(wire)))) == whole
    for event in whole:
        assert isinstance(event, str | bytes | Ping | Pong | Close)
    return whole


def handshake_head(
    *fields: tuple[bytes, bytes], key: bytes | None = KEY, version: bytes | None = b"13", length: int | None = 0
) -> RequestHead:
    """A parsed request that offers WebSocket."""
    headers = [(b"host", b"a"), (b"connection", b"upgrade"), (b"upgrade", b"websocket")]
    if key is not None:
        headers.append((b"sec-websocket-key", key))
    if version is not None:
        headers.append((b"sec-websocket-version", version))
    meaning = Meaning("1.1", True, length, False, False, offers_websocket=True)
    return RequestHead("GET", b"/", "/", b"/", b"", [*headers, *fields], meaning)
