"""Frames that are no whole, plain message: fragments, compressed ones, those that come in pieces, and those that are
wrong (RFC 6455 §5, §7.4; RFC 7692 §6.2).

wsproto judges them. It works on all that it is given, has no limit to the size of a message, and unpacks a compressed
piece in one go. So it is given a piece of a frame at a time, after the frame's header has been read here; and what is
compressed is unpacked between its two halves: the ``FrameDecoder``, which takes frames apart, and the
``MessageDecoder``, which looks after the order of fragments and after UTF-8.

A data frame whose header has come in one piece and is plainly in order needs no ``FrameDecoder``, which copies five
times and takes off the mask in Python: a fragment costs half then, and 64 KiB a fifth.
"""

from typing import Any, Final

from wsproto.frame_protocol import CloseReason, Frame, FrameDecoder, MessageDecoder, Opcode, ParseFailed

from trioserve._protocol.websocket.deflate import Deflate
from trioserve._protocol.websocket.events import (
    BUSY,
    INVALID_PAYLOAD,
    NO_CODE,
    TOO_BIG,
    Close,
    Ping,
    Pong,
    WebSocketEvent,
    is_close_code,
)
from trioserve._protocol.websocket.masking import unmask

__all__ = ["PIECE_BYTES", "PIECE_COST", "WORK_PER_CALL", "FrameReader"]

# Work is counted in bytes of about 2 ns each, which is what it costs to unpack one.
PIECE_BYTES: Final = 32 * 1024  # of a frame at a time
PIECE_COST: Final = 4096  # that a piece, which mostly is a whole frame, counts for besides its bytes: 6 to 10 us
WORK_PER_CALL: Final = 128 * 1024  # then others get a turn: after 0.2 to 0.4 ms

FRAGMENTS_AT_ONCE: Final = 1024  # they are joined then, so that many small ones cost no more than their bytes
SMALL_BYTES: Final = 1024  # or characters; a larger fragment is kept as it is

_EXTENDED: Final = {126: 2, 127: 8}  # bytes of length that follow
_OPCODES: Final = {0: Opcode.CONTINUATION, 1: Opcode.TEXT, 2: Opcode.BINARY}  # of data frames, without FIN
_COMPRESSED: Final = 0x40  # RSV1 of the first frame of a message (RFC 7692 §6)


class FrameReader:
    """Reads one message, and the control frames before its end. After that it holds nothing, and another is made.

    Attributes:
        position: of the first byte of the buffer that has not been used.
        work: of the last ``read``, in bytes as they are counted above.
        message_bytes: payload of the message so far, as it was on the wire.
    """

    __slots__ = (
        "_decoder",
        "_deflate",
        "_fragments",
        "_frame_left",
        "_header",
        "_in_message",
        "_max_size",
        "_order",
        "_packed",
        "_plain",
        "message_bytes",
        "position",
        "work",
    )  # fmt: skip

    def __init__(self, max_size: int, deflate: Deflate | None) -> None:
        """``max_size`` bounds the payload of a message, in bytes on the wire; ``deflate`` has its own for unpacked."""
        self._max_size = max_size
        self._deflate = deflate
        self._decoder: FrameDecoder | None = None  # most need none
        self._order = MessageDecoder()
        self._header = b""  # what wsproto has of a frame's header that is not whole
        self._frame_left = 0  # bytes of the current frame that have not been passed on
        self._plain: _PlainFrame | None = None  # the current frame, when it is not for wsproto
        self._in_message = False  # after a frame that was not the last of its message
        self._packed: Frame | None = None  # it is being unpacked
        self._fragments: _Fragments | None = None  # what there is of a message that came in pieces
        self.message_bytes = 0
        self.position = self.work = 0

    @property
    def holds_nothing(self) -> bool:
        """Neither a frame nor a message is under way."""
        return not self._frame_left and not self._header and not self._in_message and self._packed is None

    def read(self, buffer: bytes, start: int) -> WebSocketEvent | None:
        """The next event in ``buffer`` from ``start`` on; ``None`` when that needs more bytes, ``BUSY`` when more work.

        The work of a call exceeds ``WORK_PER_CALL`` by less than that of one piece and one step of unpacking.
        """
        self.position, self.work = start, 0
        try:
            while self.work < WORK_PER_CALL:
                frame = self._packed
                if frame is None:
                    piece = self._next_piece(buffer)
                    if not piece:
                        return None
                    frame = self._take_apart(piece)
                if frame is not None and (event := self._on_frame(frame)) is not None:
                    return event
        except ParseFailed as exc:
            return self._failure(int(exc.code), str(exc))
        return BUSY

    # Frames.

    def _next_piece(self, buffer: bytes) -> bytes:
        """What has arrived of the current frame and not been passed on; ``b""`` when there is nothing."""
        if not self._frame_left and not self._begin_frame(self._header + buffer[self.position : self.position + 14]):
            return b""
        start = self.position
        piece = buffer[start : start + min(self._frame_left, PIECE_BYTES)]
        self._frame_left -= len(piece)
        self.position = start + len(piece)
        self.work += PIECE_COST + len(piece)
        return piece

    def _begin_frame(self, header: bytes) -> bool:
        """Find out how much belongs to the frame that begins with ``header``; false when that needs more bytes.

        An unfinished header is passed on as it comes, because wsproto may refuse it as it is. Of a message that is
        too big only the header is. That of a plain frame is not.
        """
        self._plain = None
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
            begins_message = not self._in_message
            self._in_message = not header[0] & 0x80
            self.message_bytes += length
            if self.message_bytes > self._max_size:
                return True
            if not passed_on and self._begin_plain_frame(header, size, length, begins_message):
                return True
        self._frame_left += length
        return True

    def _begin_plain_frame(self, header: bytes, size: int, length: int, begins_message: bool) -> bool:
        """Whether this is a data frame with a payload, and nothing about its header is for wsproto to judge."""
        first = header[0] & 0x7F
        compressed = begins_message and first & _COMPRESSED != 0 and self._deflate is not None
        opcode = _OPCODES.get(first & ~_COMPRESSED if compressed else first)
        if opcode is None or (opcode is Opcode.CONTINUATION) == begins_message:
            return False
        shortest = 2 if length <= 125 else 4 if length <= 0xFFFF else 10  # RFC 6455 §5.2; then comes the key
        if not length or size != shortest + 4 or length >> 63:
            return False
        if begins_message and self._deflate is not None:
            self._deflate.begin_message(compressed=compressed)
        self._plain = _PlainFrame(opcode, header[size - 4 : size], is_last=header[0] & 0x80 != 0)
        self.position += size
        self._frame_left = length
        return True

    def _take_apart(self, piece: bytes) -> Frame | None:
        """What there is in one piece of one frame: one frame at most, or a part of one."""
        if self._plain is not None:
            frame: Frame | None = self._plain.take(piece, ends=not self._frame_left)
        else:
            frame = self._read_piece(piece)
        if frame is None:
            if self.message_bytes > self._max_size:
                raise ParseFailed("", CloseReason.MESSAGE_TOO_BIG)
        elif self._deflate is not None and self._deflate.compressed and not frame.opcode.iscontrol():
            self._deflate.feed(_payload(frame), last=frame.frame_finished and frame.message_finished)
            self._packed = frame
        return frame

    def _read_piece(self, piece: bytes) -> Frame | None:
        """What wsproto finds in it."""
        if self._decoder is None:
            deflate = self._deflate
            self._decoder = FrameDecoder(client=False, extensions=[deflate] if deflate is not None else None)
        self._decoder.receive_bytes(piece)
        return self._decoder.process_buffer()

    def _on_frame(self, frame: Frame) -> WebSocketEvent | None:
        """A control frame, or a part of a message, which may end it."""
        if frame.opcode is Opcode.PING:
            return Ping(_payload(frame))
        if frame.opcode is Opcode.PONG:
            return Pong(_payload(frame))
        if frame.opcode is Opcode.CLOSE:
            return _read_close(_payload(frame))
        if self._packed is not None:
            frame = self._unpack(frame)
        if frame.message_finished and frame.frame_finished and self._order.opcode is None:
            if frame.opcode is Opcode.BINARY:  # a whole message, which is in order
                return _payload(frame)
            if frame.opcode is Opcode.TEXT:
                return _text(frame)
        part = self._order.process_frame(frame)
        return self._collect(part.payload if isinstance(part.payload, str) else _payload(part), part.message_finished)

    def _unpack(self, frame: Frame) -> Frame:
        """The next part of what is packed in ``frame``; parts of one frame are like wsproto's own."""
        assert self._deflate is not None, "it has the frame's payload"
        unpacked = self._deflate.unpack()
        self.work += len(unpacked)
        if not self._deflate.pending:
            self._packed = None
            return frame._replace(payload=unpacked)
        self._packed = frame._replace(opcode=Opcode.CONTINUATION)
        return frame._replace(payload=unpacked, frame_finished=False)

    def _collect(self, data: Any, finished: bool) -> str | bytes | None:
        """Put a message together; its pieces are all ``str`` or all ``bytes``."""
        if finished and self._fragments is None:
            whole: str | bytes = data
            return whole
        if self._fragments is None:
            self._fragments = _Fragments(data[:0])
        self._fragments.add(data)
        return self._fragments.joined() if finished else None

    def _failure(self, code: int, reason: str) -> Close:
        """The peer's mistake, in words that do not depend on how its bytes were cut."""
        if code == INVALID_PAYLOAD:
            reason = "text that is not UTF-8, or data that cannot be unpacked"
        elif code == TOO_BIG:
            reason = f"message over the limit of {self._max_size} bytes"
        return Close(code, reason, failed=True)


def _payload(frame: Frame) -> bytes:
    """As wsproto takes it from the wire; other types are those of its upper layers."""
    assert isinstance(frame.payload, bytes | bytearray), frame.opcode
    return bytes(frame.payload)


def _text(frame: Frame) -> str:
    """Of a whole message. Raises ParseFailed."""
    try:
        return _payload(frame).decode()
    except UnicodeDecodeError as exc:
        raise ParseFailed(str(exc), CloseReason.INVALID_FRAME_PAYLOAD_DATA) from None


def _read_close(payload: bytes) -> Close:
    """RFC 6455 §5.5.1, §7.4. Our own few lines, because wsproto does not know 1014. Raises ParseFailed."""
    if not payload:
        return Close(NO_CODE, "", failed=False)
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not is_close_code(code):
        raise ParseFailed("a close frame with a code that may not be sent")
    try:
        return Close(code, payload[2:].decode(), failed=False)
    except UnicodeDecodeError as exc:
        raise ParseFailed(str(exc), CloseReason.INVALID_FRAME_PAYLOAD_DATA) from None


class _PlainFrame:
    """A data frame that is read without wsproto. Its parts are like wsproto's own."""

    __slots__ = ("_is_last", "_key", "_opcode")

    def __init__(self, opcode: Opcode, key: bytes, *, is_last: bool) -> None:
        self._opcode = opcode
        self._key = key  # for the next byte on
        self._is_last = is_last  # of its message

    def take(self, piece: bytes, *, ends: bool) -> Frame:
        """The next part of it; ``ends``: the last one."""
        payload = unmask(piece, self._key)
        frame = Frame(self._opcode, payload, ends, self._is_last)
        if not ends:
            turned = len(piece) % 4
            self._key = self._key[turned:] + self._key[:turned]
            self._opcode = Opcode.CONTINUATION
        return frame


class _Fragments:
    """The pieces of one message, in bounded overhead: small ones are joined to a block before there are too many."""

    __slots__ = ("_blocks", "_empty", "_small")

    def __init__(self, empty: Any) -> None:
        self._empty = empty
        self._blocks: list[Any] = []
        self._small: list[Any] = []  # come after the blocks

    def add(self, piece: Any) -> None:
        if len(piece) > SMALL_BYTES:
            self._join_small()
            self._blocks.append(piece)
        elif piece:
            self._small.append(piece)
            if len(self._small) == FRAGMENTS_AT_ONCE:
                self._join_small()

    def _join_small(self) -> None:
        if self._small:
            self._blocks.append(self._empty.join(self._small))
            self._small.clear()

    def joined(self) -> Any:
        return self._empty.join([*self._blocks, *self._small])
