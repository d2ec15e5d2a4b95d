"""permessage-deflate with bounds: on what a message may expand to, and on what an idle connection keeps (RFC 7692)."""

import zlib
from typing import Final

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, ParseFailed, RsvBits

from trioserve._protocol.websocket.handshake import DeflateTerms

__all__ = ["UNPACK_BYTES", "Deflate"]

# zlib's smallest effort: a third less time than its default for a twentieth more bytes, measured with 16 KiB of JSON.
LEVEL: Final = 1
WINDOW_BITS: Final = 13  # with the memory level, 64 KiB for a compressor in use instead of 256 KiB
MEMORY_LEVEL: Final = 6
UNPACK_BYTES: Final = 32 * 1024  # at a time: a bomb of 64 KiB has 64 MiB in it

_MAY_COMPRESS: Final = RsvBits(True, False, False)
_TAIL: Final = b"\x00\x00\xff\xff"  # the end of a message that is not sent (RFC 7692 §7.2.1)
_AFTER_FINAL_BLOCK_BYTES: Final = 5  # a message may end with a final block, one byte and the tail (RFC 7692 §7.2.3.4)


class Deflate(Extension):
    """One side's compressor and the other's decompressor. wsproto asks it about headers only.

    ``feed`` and ``unpack`` unpack a message step by step, at most ``max_size`` bytes of it. ``compress`` packs whole
    messages. Its compressor may be forgotten at any time: a new one does not refer to what was sent before, and nobody
    can tell.

    Attributes:
        compressed: the message that is being read is.
        pending: there may be more to ``unpack`` of what was fed.
    """

    def __init__(self, terms: DeflateTerms, max_size: int) -> None:
        self._max_size = max_size
        self._inbound_bits = max(terms.client_window_bits, 9)  # 8 is what zlib writes as 9
        self._outbound_bits = min(terms.server_window_bits, WINDOW_BITS)
        self._keeps_decompressor = terms.client_takeover
        self._keeps_compressor = terms.server_takeover
        self._decompressor: zlib._Decompress | None = None
        self._compressor: zlib._Compress | None = None
        self._compressor_rested = False
        self._packed = b""  # fed, and not unpacked
        self._last = False  # the message ends with that
        self._room = max_size  # for the rest of this message
        self.compressed = self.pending = False

    # What wsproto calls while it reads.

    def offer(self) -> bool | str:
        """For clients, which this is not."""
        return False

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        """A frame begins. The first of a message says whether all are compressed (RFC 7692 §6)."""
        if opcode in (Opcode.TEXT, Opcode.BINARY):
            self.begin_message(compressed=rsv.rsv1)
        elif rsv.rsv1:
            return CloseReason.PROTOCOL_ERROR
        return _MAY_COMPRESS

    # What the server calls when it reads.

    def begin_message(self, *, compressed: bool) -> None:
        """Its first frame begins."""
        self.compressed = compressed
        if compressed and self._decompressor is None:
            self._decompressor = zlib.decompressobj(-self._inbound_bits)

    def feed(self, payload: bytes, *, last: bool) -> None:
        """Take a piece of a compressed message, which may be its last. Nothing of the one before is ``pending``."""
        self._packed = payload + _TAIL if last else payload
        self._last = last
        self.pending = True

    def unpack(self) -> bytes:
        """At most ``UNPACK_BYTES`` of what was fed. What is left of it is kept by zlib, and copied once a step.

        Raises:
            ParseFailed: it cannot be unpacked, or the message is too big.
        """
        decompressor = self._decompressor
        assert decompressor is not None, "made with the first frame of the message"
        most = min(self._room + 1, UNPACK_BYTES)
        try:
            unpacked = decompressor.decompress(self._packed, most)
        except zlib.error as exc:
            raise ParseFailed(str(exc), CloseReason.INVALID_FRAME_PAYLOAD_DATA) from None
        self._room -= len(unpacked)
        if self._room < 0:
            raise ParseFailed("", CloseReason.MESSAGE_TOO_BIG)
        if len(decompressor.unused_data) > _AFTER_FINAL_BLOCK_BYTES:
            raise ParseFailed("data after the final block", CloseReason.INVALID_FRAME_PAYLOAD_DATA)
        # After the final block the tail is what is in unused_data already. A full step may have left some in zlib.
        self._packed = b"" if decompressor.eof else decompressor.unconsumed_tail
        self.pending = not decompressor.eof and (bool(self._packed) or len(unpacked) == most)
        if self._last and not self.pending:
            self._end_message(decompressor.eof)
        return unpacked

    def _end_message(self, after_final_block: bool) -> None:
        if after_final_block or not self._keeps_decompressor:
            self._decompressor = None
        self.compressed = False  # until the next message says so: a continuation without one is refused later
        self._room = self._max_size

    # What the server calls when it sends.

    def compress(self, payload: bytes) -> bytes:
        """The payload of a frame for a whole message."""
        compressor = self._compressor
        if compressor is None:
            compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, -self._outbound_bits, MEMORY_LEVEL)
        self._compressor = compressor if self._keeps_compressor else None
        self._compressor_rested = False
        return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]

    def rest(self) -> None:
        """Called now and then: a compressor that has not been used since the last time is given up."""
        if self._compressor_rested:
            self._compressor = None
        self._compressor_rested = True
