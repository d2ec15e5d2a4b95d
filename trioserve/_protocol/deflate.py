"""permessage-deflate with bounds: on what a message may expand to, and on what an idle connection keeps (RFC 7692)."""

import zlib
from typing import Final

from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

from trioserve._protocol.handshake import DeflateTerms

__all__ = ["Deflate"]

# zlib's smallest effort: a third less time than its default for a twentieth more bytes, measured with 16 KiB of JSON.
LEVEL: Final = 1
WINDOW_BITS: Final = 13  # with the memory level, 64 KiB for a compressor in use instead of 256 KiB
MEMORY_LEVEL: Final = 6

_MAY_COMPRESS: Final = RsvBits(True, False, False)
_TAIL: Final = b"\x00\x00\xff\xff"  # the end of a message that is not sent (RFC 7692 §7.2.1)
_AFTER_FINAL_BLOCK_BYTES: Final = 5  # a message may end with a final block, one byte and the tail (RFC 7692 §7.2.3.4)


class Deflate(PerMessageDeflate):
    """wsproto's extension: it unpacks what wsproto reads, at most ``max_size`` bytes of a message.

    ``compress`` packs whole messages. Its compressor may be forgotten at any time: a new one does not refer to what
    was sent before, and nobody can tell.
    """

    def __init__(self, terms: DeflateTerms, max_size: int) -> None:
        super().__init__(client_no_context_takeover=not terms.client_takeover)
        self._enabled = True
        self._max_size = max_size
        self._room = max_size  # for the rest of this message
        self._inbound_bits = max(terms.client_window_bits, 9)  # 8 is what zlib writes as 9
        self._outbound_bits = min(terms.server_window_bits, WINDOW_BITS)
        self._keeps_compressor = terms.server_takeover
        self._compressor_rested = False

    # What wsproto calls while it reads. A control frame between fragments changes nothing: wsproto 1.3 would forget
    # there that the message is compressed.

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        self._inbound_is_compressible = not opcode.iscontrol()
        if opcode in (Opcode.TEXT, Opcode.BINARY):
            self._inbound_compressed = rsv.rsv1
            if rsv.rsv1 and self._decompressor is None:
                self._decompressor = zlib.decompressobj(-self._inbound_bits)
        elif rsv.rsv1:
            return CloseReason.PROTOCOL_ERROR
        return _MAY_COMPRESS

    def frame_inbound_payload_data(
        self, proto: FrameDecoder | FrameProtocol, data: bytes
    ) -> bytes | CloseReason:
        if self._inbound_is_compressible and self._inbound_compressed:
            return self._unpack(data)
        return data

    def frame_inbound_complete(
        self, proto: FrameDecoder | FrameProtocol, fin: bool
    ) -> bytes | CloseReason | None:
        if not fin or not self._inbound_is_compressible or not self._inbound_compressed:
            return None
        rest = self._unpack(_TAIL)
        if self.client_no_context_takeover or (self._decompressor is not None and self._decompressor.eof):
            self._decompressor = None
        self._inbound_compressed = False  # until the next message says so: a continuation without one is refused later
        self._room = self._max_size
        return rest

    def _unpack(self, data: bytes) -> bytes | CloseReason:
        assert self._decompressor is not None, "made with the first frame of the message"
        try:
            unpacked = self._decompressor.decompress(data, self._room + 1)  # never more than that at once
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        self._room -= len(unpacked)
        if self._room < 0:
            return CloseReason.MESSAGE_TOO_BIG
        if len(self._decompressor.unused_data) > _AFTER_FINAL_BLOCK_BYTES:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        return unpacked

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
