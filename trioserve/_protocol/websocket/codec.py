"""WebSocket frames of one connection: bytes in, messages out, and back (RFC 6455 §5 to §8). The server's side only.

wsproto is the authority for what arrives: for fragments, compression, everything that comes in pieces and everything
that is wrong; see ``FrameReader``. In front of it stands a fast path for what nearly all frames are, a whole message in
a whole frame that was wholly received: 0.9 us instead of 9. A ``FrameReader`` is made when a frame is not of this
kind and dropped when it holds nothing any more, so that an idle connection does not carry it about; that costs 2 us.
"""

import struct
from typing import Final

from trioserve._protocol.websocket.deflate import Deflate
from trioserve._protocol.websocket.events import (
    ABNORMAL,
    BUSY,
    NO_CODE,
    TOO_BIG,
    Busy,
    Close,
    Ping,
    Pong,
    WebSocketEvent,
    is_close_code,
)
from trioserve._protocol.websocket.frame_reader import FrameReader
from trioserve._protocol.websocket.handshake import DeflateTerms
from trioserve._protocol.websocket.masking import unmask

__all__ = [
    "ABNORMAL", "BUSY", "FRAME_COST", "NO_CODE", "TOO_BIG", "Busy", "Close", "Ping", "Pong", "WebSocketCodec",
    "WebSocketEvent", "is_close_code",
]  # fmt: skip

TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A  # first bytes of whole, uncompressed messages
COMPRESSED: Final = 0x40  # RSV1 (RFC 7692 §7.2.1)
COMPRESS_FROM: Final = 1024  # bytes; a smaller message fits into one packet either way
CONTROL_BYTES: Final = 125  # the largest payload of a control frame (RFC 6455 §5.5)
FRAME_COST: Final = 512  # bytes of work that a frame of the fast path counts for besides its own

_SHORT_TEXT: Final = tuple(bytes((TEXT, size)) for size in range(CONTROL_BYTES + 1))
_SHORT_BINARY: Final = tuple(bytes((BINARY, size)) for size in range(CONTROL_BYTES + 1))


class WebSocketCodec:
    """Feed it with ``receive_data``, then ask for ``next_event`` until there is none.

    Attributes:
        work: what reading has cost so far, in bytes of about 2 ns each: those that were read, those that were
            unpacked, and a fixed number for each frame. It never gets less. Who is handed one event after the other
            without waiting gives way when this has grown by some 256 KiB: half a millisecond, besides what is done with
            the events.
        closed: the ``Close`` event has been given out; what arrives now is dropped.
        received_messages: data messages so far. Their ``received_bytes`` follow from their number and the work: what
            is counted once more costs a short message 4% of its time.
        sent_messages, sent_bytes: the same for the other direction.
    """

    __slots__ = (
        "_buffer", "_deflate", "_max_size", "_other_work", "_position", "_reader", "closed", "received_messages",
        "sent_bytes", "sent_messages", "work",
    )  # fmt: skip

    def __init__(self, max_size: int, deflate: DeflateTerms | None = None) -> None:
        """``max_size`` bounds the payload of a message, in bytes: on the wire, and unpacked."""
        self._max_size = max_size
        self._deflate = Deflate(deflate, max_size) if deflate is not None else None
        self._buffer = b""  # also when all of it has been used, and somebody has asked for more
        self._position = 0  # of the first byte in the buffer that has not been used
        self._reader: FrameReader | None = None  # while it has a part of a frame or of a message
        self.work = 0
        self._other_work = 0  # that was for something else than a message's payload and its FRAME_COST
        self.closed = False
        self.received_messages = 0
        self.sent_messages = self.sent_bytes = 0

    # What arrives.

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the wire. What has not been used of those before is copied, so ask for events first."""
        if self.closed:
            return
        if self._buffer:
            data = self._buffer[self._position :] + data
            self._position = 0
        self._buffer = data

    def next_event(self) -> WebSocketEvent | None:
        """The next message, whole, or what else there is; ``None`` until more has been received.

        ``BUSY`` means that there is more to do with what has been received: give way to others, then ask again. No
        call does more than about a third of a millisecond's work, whatever a client has sent. One thing is not done
        in parts: a message that came in pieces is joined at its end, which is one copy.

        Messages are ``str`` or ``bytes``. Nothing is raised: what a peer may not send is a ``Close`` that says so.
        """
        buffer, start = self._buffer, self._position
        size = len(buffer)
        if start == size:
            self._buffer, self._position = b"", 0  # an idle connection keeps nothing of its last frame
            if self._reader is None:
                return None
        if self._reader is not None:
            return self._read_slowly()
        try:
            first, length, body = buffer[start], buffer[start + 1] - 0x80, start + 6
        except IndexError:  # half of that; cheaper than to look first
            return self._read_slowly()
        if length == 126:
            length, body = int.from_bytes(buffer[start + 2 : start + 4], "big"), start + 8
            if length <= CONTROL_BYTES or first > BINARY:
                return self._read_slowly()
        elif length == 127:
            length, body = int.from_bytes(buffer[start + 2 : start + 10], "big"), start + 14
            if length <= 0xFFFF or first > BINARY:
                return self._read_slowly()
        elif not 0 <= length <= CONTROL_BYTES:
            return self._read_slowly()
        end = body + length
        if end > size or length > self._max_size:
            return self._read_slowly()
        if first == TEXT:
            try:
                text = unmask(buffer[body:end], buffer[body - 4 : body]).decode()
            except UnicodeDecodeError:
                return self._read_slowly()
            self._position = end
            self.received_messages += 1
            self.work += length + FRAME_COST
            return text
        if first == BINARY:
            self._position = end
            self.received_messages += 1
            self.work += length + FRAME_COST
            return unmask(buffer[body:end], buffer[body - 4 : body])
        if first in (PING, PONG):
            self._position = end
            self.work += length + FRAME_COST
            self._other_work += length + FRAME_COST
            kind = Ping if first == PING else Pong
            return kind(unmask(buffer[body:end], buffer[body - 4 : body]))
        return self._read_slowly()

    def _read_slowly(self) -> WebSocketEvent | None:
        """Everything else is for wsproto."""
        reader = self._reader
        if reader is None:
            reader = self._reader = FrameReader(self._max_size, self._deflate)
        event = reader.read(self._buffer, self._position)
        self._position = reader.position
        self.work += reader.work
        self._other_work += reader.work
        if isinstance(event, Close):
            self._end()
        elif reader.holds_nothing:
            self._reader = None
        if isinstance(event, str | bytes):
            self.received_messages += 1
            self._other_work -= reader.message_bytes + FRAME_COST
        return event

    def _end(self) -> None:
        """Nothing is read any more; what was kept for it goes."""
        self.closed = True
        self._buffer, self._position = b"", 0
        self._reader = None

    @property
    def received_bytes(self) -> int:
        """Payloads of the messages so far, as they were on the wire."""
        return self.work - self._other_work - FRAME_COST * self.received_messages

    # What is sent.

    def text(self, text: str) -> bytes:
        """A text message. Raises UnicodeEncodeError for half of a surrogate pair, which UTF-8 cannot express."""
        payload = text.encode()
        size = len(payload)
        if size > CONTROL_BYTES:
            return self._long_message(TEXT, payload)
        self.sent_messages += 1
        self.sent_bytes += size
        return _SHORT_TEXT[size] + payload

    def binary(self, payload: bytes) -> bytes:
        """A binary message."""
        size = len(payload)
        if size > CONTROL_BYTES:
            return self._long_message(BINARY, payload)
        self.sent_messages += 1
        self.sent_bytes += size
        return _SHORT_BINARY[size] + payload

    def _long_message(self, first: int, payload: bytes) -> bytes:
        if self._deflate is not None and len(payload) >= COMPRESS_FROM:
            payload = self._deflate.compress(payload)
            first |= COMPRESSED
        size = len(payload)
        self.sent_messages += 1
        self.sent_bytes += size
        if size <= CONTROL_BYTES:
            return bytes((first, size)) + payload
        if size < 0x10000:
            return struct.pack("!BBH", first, 126, size) + payload
        return struct.pack("!BBQ", first, 127, size) + payload

    def ping(self, payload: bytes = b"") -> bytes:
        return bytes((PING, len(payload))) + payload

    def pong(self, payload: bytes) -> bytes:
        return bytes((PONG, len(payload))) + payload

    def close(self, code: int, reason: str = "") -> bytes:
        """A close frame; with ``NO_CODE`` it says nothing. A long reason is cut (RFC 6455 §5.5.1)."""
        if code == NO_CODE:
            return bytes((CLOSE, 0))
        text = reason.encode()[: CONTROL_BYTES - 2].decode(errors="ignore")  # no half of a character
        payload = code.to_bytes(2, "big") + text.encode()
        return bytes((CLOSE, len(payload))) + payload

    def rest(self) -> None:
        """Called now and then, so that idle connections give up what they can do without."""
        if self._deflate is not None:
            self._deflate.rest()
