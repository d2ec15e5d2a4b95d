"""WebSocket frames of one connection: bytes in, messages out, and back (RFC 6455 §5 to §8). The server's side only.

wsproto is the authority for what arrives: for fragments, compression, everything that comes in pieces and everything
that is wrong. In front of it stands a fast path for what nearly all frames are, a whole message in a whole frame that
was wholly received: 0.9 us instead of 9. wsproto is made when a frame is not of this kind and dropped when it holds
nothing any more, so that an idle connection does not carry it about; that costs 2 us.

wsproto has no limit to the size of a message. Frame headers are read here too, before wsproto gets them, so that a
message is refused before it is there.
"""

import struct
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from wsproto.connection import SERVER, Connection, ConnectionState
from wsproto.events import BytesMessage, CloseConnection, TextMessage
from wsproto.events import Ping as WsprotoPing
from wsproto.events import Pong as WsprotoPong

from trioserve._protocol.deflate import Deflate
from trioserve._protocol.handshake import DeflateTerms
from trioserve._protocol.masking import unmask

__all__ = ["ABNORMAL", "NO_CODE", "Close", "Ping", "Pong", "WebSocketCodec", "WebSocketEvent"]

NO_CODE: Final = 1005  # a close frame without a code (RFC 6455 §7.1.5)
ABNORMAL: Final = 1006  # the connection ended without a close frame
INVALID_PAYLOAD: Final = 1007
TOO_BIG: Final = 1009

TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A  # first bytes of whole, uncompressed messages
COMPRESSED: Final = 0x40  # RSV1 (RFC 7692 §7.2.1)
COMPRESS_FROM: Final = 1024  # bytes; a smaller message fits into one packet either way
CONTROL_BYTES: Final = 125  # the largest payload of a control frame (RFC 6455 §5.5)
FRAGMENTS_AT_ONCE: Final = 1024  # they are joined then, so that many small ones cost no more than their bytes

_EXTENDED: Final = {126: 2, 127: 8}  # bytes of length that follow
_SHORT_TEXT: Final = tuple(bytes((TEXT, size)) for size in range(CONTROL_BYTES + 1))
_SHORT_BINARY: Final = tuple(bytes((BINARY, size)) for size in range(CONTROL_BYTES + 1))


@dataclass(frozen=True, slots=True)
class Ping:
    """Wants to be answered by a pong with the same payload."""

    payload: bytes


@dataclass(frozen=True, slots=True)
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


WebSocketEvent: TypeAlias = str | bytes | Ping | Pong | Close
"""Messages are plain: most of what arrives costs no object of its own."""


class WebSocketCodec:
    """Feed it with ``receive_data``, then ask for ``next_event`` until there is none.

    Attributes:
        closed: the ``Close`` event has been given out; what arrives now is dropped.
        received_messages, received_bytes: data messages so far, with their payloads as they were on the wire.
        sent_messages, sent_bytes: the same for the other direction.
    """

    __slots__ = (
        "_buffer", "_deflate", "_frame_left", "_header", "_in_message", "_max_size", "_message", "_message_bytes",
        "_position", "_wsproto", "closed", "received_bytes", "received_messages", "sent_bytes", "sent_messages",
    )  # fmt: skip

    def __init__(self, max_size: int, deflate: DeflateTerms | None = None) -> None:
        """``max_size`` bounds the payload of a message, in bytes: on the wire, and unpacked."""
        self._max_size = max_size
        self._deflate = Deflate(deflate, max_size) if deflate is not None else None
        self._buffer = b""
        self._position = 0  # of the first byte in the buffer that has not been used
        self._wsproto: Connection | None = None  # while a frame or a message is in it
        self._header = b""  # what wsproto has of a frame's header that is not whole
        self._frame_left = 0  # bytes of the current frame that wsproto waits for
        self._in_message = False  # after a frame that was not the last of its message
        self._message_bytes = 0
        self._message: _Fragments | None = None  # what there is of a message that came in pieces
        self.closed = False
        self.received_messages = self.received_bytes = 0
        self.sent_messages = self.sent_bytes = 0

    # What arrives.

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the wire."""
        if self.closed:
            return
        if self._position < len(self._buffer):
            data = self._buffer[self._position :] + data
        self._buffer = data
        self._position = 0

    def next_event(self) -> WebSocketEvent | None:
        """The next message, whole, or what else there is; ``None`` until more has been received.

        Messages are ``str`` or ``bytes``. Nothing is raised: what a peer may not send is a ``Close`` that says so.
        """
        buffer, start = self._buffer, self._position
        size = len(buffer)
        if start == size:
            self._buffer, self._position = b"", 0  # an idle connection keeps nothing of its last frame
            return None
        if size - start < 6 or self._wsproto is not None:  # masked frames have at least 6 bytes
            return self._read_slowly()
        first, length, body = buffer[start], buffer[start + 1] - 0x80, start + 6
        if length == 126:
            length, body = int.from_bytes(buffer[start + 2 : start + 4], "big"), start + 8
            if length <= CONTROL_BYTES or first > BINARY:
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
            self.received_bytes += length
            return text
        if first == BINARY:
            self._position = end
            self.received_messages += 1
            self.received_bytes += length
            return unmask(buffer[body:end], buffer[body - 4 : body])
        if first in (PING, PONG):
            self._position = end
            payload = unmask(buffer[body:end], buffer[body - 4 : body])
            return Ping(payload) if first == PING else Pong(payload)
        return self._read_slowly()

    # Everything else is for wsproto.

    def _read_slowly(self) -> WebSocketEvent | None:
        """Pass on what has arrived, a frame or a part of one at a time, until wsproto has something to say."""
        while piece := self._next_piece():
            if self._wsproto is None:
                self._wsproto = Connection(SERVER, [self._deflate] if self._deflate is not None else None)
            event = self._pass_on(self._wsproto, piece)
            if event is None and self._message_bytes > self._max_size:
                event = self._failure(TOO_BIG, "")
            if isinstance(event, Close):
                self._end()
            elif not self._frame_left and not self._header and not self._in_message:
                self._wsproto = None
            if event is not None:
                return event
        return None

    def _next_piece(self) -> bytes:
        """What has arrived of the current frame and not been passed on; ``b""`` when there is nothing."""
        buffer, start = self._buffer, self._position
        if not self._frame_left and not self._begin_frame(self._header + buffer[start : start + 14]):
            return b""
        piece = buffer[start : start + self._frame_left]
        self._frame_left -= len(piece)
        self._position = start + len(piece)
        return piece

    def _begin_frame(self, header: bytes) -> bool:
        """Find out how much belongs to the frame that begins with ``header``; false when that needs more bytes.

        An unfinished header is passed on as it comes, because wsproto may refuse it as it is. Of a message that is
        too big only the header is.
        """
        if len(header) < 2:
            return False
        extended = _EXTENDED.get(header[1] & 0x7F, 0)
        size = 2 + extended + (4 if header[1] & 0x80 else 0)
        passed_on = len(self._header)
        if len(header) < size:
            self._header = header
            self._frame_left = len(header) - passed_on
            return True
        self._header = b""
        self._frame_left = size - passed_on
        length = int.from_bytes(header[2 : 2 + extended], "big") if extended else header[1] & 0x7F
        if not header[0] & 0x08:  # no control frame
            self._in_message = not header[0] & 0x80
            self._message_bytes += length
            if self._message_bytes > self._max_size:
                return True
        self._frame_left += length
        return True

    def _pass_on(self, wsproto: Connection, piece: bytes) -> WebSocketEvent | None:
        """One piece is of one frame, so there is one event in it at most."""
        wsproto.receive_data(piece)
        result: WebSocketEvent | None = None
        for event in wsproto.events():
            if isinstance(event, TextMessage | BytesMessage):
                result = self._collect(event.data, event.message_finished)
            elif isinstance(event, WsprotoPing):
                result = Ping(bytes(event.payload))
            elif isinstance(event, WsprotoPong):
                result = Pong(bytes(event.payload))
            elif isinstance(event, CloseConnection):
                if wsproto.state is ConnectionState.REMOTE_CLOSING:
                    result = Close(int(event.code), event.reason or "", failed=False)
                else:
                    result = self._failure(int(event.code), event.reason or "")
        return result

    def _failure(self, code: int, reason: str) -> Close:
        """The peer's mistake, in words that do not depend on how its bytes were cut."""
        if code == INVALID_PAYLOAD:
            reason = "text that is not UTF-8, or data that cannot be unpacked"
        elif code == TOO_BIG:
            reason = f"message over the limit of {self._max_size} bytes"
        return Close(code, reason, failed=True)

    def _collect(self, data: Any, finished: bool) -> str | bytes | None:
        """Put a message together; its pieces are all ``str`` or all ``bytes``."""
        if self._message is not None:
            self._message.add(data)
            data = self._message.joined() if finished else None
        elif not finished:
            self._message = _Fragments(data)
        if not finished:
            return None
        self._message = None
        self.received_messages += 1
        self.received_bytes += self._message_bytes
        self._message_bytes = 0
        message: str | bytes = data
        return message

    def _end(self) -> None:
        """Nothing is read any more; what was kept for it goes."""
        self.closed = True
        self._buffer, self._position, self._frame_left, self._header = b"", 0, 0, b""
        self._wsproto = self._message = None

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


class _Fragments:
    """The pieces of one message, in bounded overhead: a block is joined before there are too many small ones."""

    __slots__ = ("_blocks", "_empty", "_pieces")

    def __init__(self, first: Any) -> None:
        self._empty = first[:0]
        self._blocks: list[Any] = []
        self._pieces = [first]

    def add(self, piece: Any) -> None:
        if piece:
            self._pieces.append(piece)
            if len(self._pieces) == FRAGMENTS_AT_ONCE:
                self._blocks.append(self._empty.join(self._pieces))
                self._pieces.clear()

    def joined(self) -> Any:
        return self._empty.join([*self._blocks, *self._pieces])
