"""What wsproto alone makes of frames: without our fast path, limit, pieces, unpacking and close codes.

Where wsproto 1.3 is known to be wrong it is put right here, in the least that does it, and independently of our code.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final
from unittest import mock

from hypothesis import strategies as st
from wsproto.connection import SERVER, Connection, ConnectionState
from wsproto.events import BytesMessage, CloseConnection, TextMessage
from wsproto.events import Ping as WsprotoPing
from wsproto.events import Pong as WsprotoPong
from wsproto.extensions import Extension, PerMessageDeflate
from wsproto.frame_protocol import CloseReason, Frame, FrameDecoder, FrameProtocol, Opcode, RsvBits

from tests.helpers.ws_frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame
from trioserve._protocol.websocket import deflate, frame_reader
from trioserve._protocol.websocket.codec import BUSY, Close, Ping, Pong, WebSocketCodec
from trioserve._protocol.websocket.handshake import DeflateTerms

__all__ = ["TERMS", "assert_same", "is_failure", "pieces_of", "wires", "wsproto_events"]

NO_LIMIT: Final = (1 << 63) - 2  # all but one of the lengths that there are
TERMS: Final = DeflateTerms(b"permessage-deflate", 15, 15, True, True)


class ReferenceDeflate(PerMessageDeflate):
    """wsproto's own, which forgets at a control frame between fragments that the message is compressed, takes a
    continuation of nothing for a compressed one, and neither begins anew after a final block nor minds what follows it.
    """

    _control = False

    def enabled(self) -> bool:
        return True

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        self._control = opcode.iscontrol()
        if opcode in (Opcode.TEXT, Opcode.BINARY):
            self._inbound_compressed = None  # as it is before a message
        if not self._control and not (opcode is Opcode.CONTINUATION and self._inbound_compressed is None):
            return super().frame_inbound_header(proto, opcode, rsv, payload_length)
        return CloseReason.PROTOCOL_ERROR if rsv.rsv1 else RsvBits(True, False, False)

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes | CloseReason:
        return data if self._control else self._checked(super().frame_inbound_payload_data(proto, data))

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> bytes | CloseReason | None:
        if self._control or not self._inbound_compressed or not fin:
            return None
        decompressor = self._decompressor
        assert decompressor is not None
        try:
            rest = self._checked(decompressor.decompress(b"\0\0\xff\xff"))
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        self._inbound_compressed = None
        if decompressor.eof or self.client_no_context_takeover:
            self._decompressor = None
        return rest

    def _checked(self, unpacked: bytes | CloseReason) -> bytes | CloseReason:
        left_over = len(self._decompressor.unused_data) if self._inbound_compressed and self._decompressor else 0
        return CloseReason.INVALID_FRAME_PAYLOAD_DATA if left_over > 5 else unpacked  # RFC 7692 §7.2.3.4


class ReferenceProtocol(FrameProtocol):
    """Knows 1014, which IANA has registered since wsproto's list was made."""

    def _process_close(self, frame: Frame) -> Frame:
        payload = frame.payload
        assert isinstance(payload, bytes | bytearray)
        if payload[:2] != (1014).to_bytes(2, "big"):
            return super()._process_close(frame)
        known = super()._process_close(frame._replace(payload=(1013).to_bytes(2, "big") + payload[2:]))
        assert isinstance(known.payload, tuple)
        return known._replace(payload=(1014, known.payload[1]))


def wsproto_events(pieces: list[bytes], terms: DeflateTerms | None = None) -> list[Any]:
    """Messages, pings, pongs and the end, in order; the end without its reason when it is a failure."""
    extensions: list[Extension] = []
    if terms is not None:
        extensions.append(ReferenceDeflate(not terms.client_takeover, terms.client_window_bits))
    wsproto = Connection(SERVER)
    wsproto._proto = ReferenceProtocol(client=False, extensions=extensions)
    events: list[Any] = []
    parts: list[Any] = []
    for piece in pieces:
        if wsproto.state is not ConnectionState.OPEN or (events and isinstance(events[-1], Close)):
            break
        wsproto.receive_data(piece)
        for event in wsproto.events():
            if isinstance(event, TextMessage | BytesMessage):
                parts.append(event.data if isinstance(event, TextMessage) else bytes(event.data))
                if event.message_finished:
                    events.append(parts[0][:0].join(parts))
                    parts = []
            elif isinstance(event, WsprotoPing):
                events.append(Ping(bytes(event.payload)))
            elif isinstance(event, WsprotoPong):
                events.append(Pong(bytes(event.payload)))
            elif isinstance(event, CloseConnection):
                failed = wsproto.state is ConnectionState.OPEN
                events.append(Close(int(event.code), "" if failed else event.reason or "", failed))
    return events


def our_events(pieces: list[bytes], terms: DeflateTerms | None = None) -> list[Any]:
    codec = WebSocketCodec(NO_LIMIT, terms)
    events: list[Any] = []
    for piece in pieces:
        codec.receive_data(piece)
        while (event := codec.next_event()) is not None:
            if event is BUSY:
                continue
            events.append(Close(event.code, "", True) if isinstance(event, Close) and event.failed else event)
    return events


@contextmanager
def small_steps() -> Iterator[None]:
    """Everything that is done a part at a time is done in the smallest parts, with ``BUSY`` after each."""
    with (
        mock.patch.object(frame_reader, "PIECE_BYTES", 3), mock.patch.object(frame_reader, "WORK_PER_CALL", 1),
        mock.patch.object(deflate, "UNPACK_BYTES", 2),
    ):  # fmt: skip
        yield


def assert_same(wire: bytes, cuts: list[int], terms: DeflateTerms | None = None) -> list[Any]:
    """We and wsproto alone agree on ``wire``, whole and in pieces, and in small steps; returns what it is.

    With two mistakes in one frame the cuts decide which of them wsproto sees first, and so the code.
    """
    whole, in_pieces = our_events([wire], terms), our_events(pieces := pieces_of(wire, cuts), terms)
    assert whole == wsproto_events([wire], terms)
    assert in_pieces == wsproto_events(pieces, terms), pieces
    with small_steps():
        in_steps = our_events([wire], terms)
    assert without_codes(in_pieces) == without_codes(in_steps) == without_codes(whole)
    return whole


def without_codes(events: list[Any]) -> list[Any]:
    return [replace(event, code=0) if is_failure(event) else event for event in events]


def is_failure(event: Any) -> bool:
    return isinstance(event, Close) and event.failed


def pieces_of(wire: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted({cut % (len(wire) + 1) for cut in cuts}), len(wire)]
    return [wire[start:end] for start, end in pairwise(edges) if start < end]


_opcodes = st.sampled_from([TEXT, TEXT, TEXT, BINARY, BINARY, CONTINUATION, CONTINUATION, PING, PONG, CLOSE])
_payloads = st.one_of(
    st.binary(max_size=40), st.text(max_size=20).map(str.encode), st.integers(120, 130).map(lambda size: b"x" * size),
    st.integers(0, 65536).map(lambda code: code.to_bytes(3, "big")[1:]), st.just(b"\x03\xe8bye"),
    st.integers(995, 1020).map(lambda code: code.to_bytes(2, "big") + b"\xc3\xa9"),
)  # fmt: skip
_frames = st.one_of(
    st.builds(frame, _opcodes, _payloads, fin=st.sampled_from([True, True, True, False]),
              mask=st.binary(min_size=4, max_size=4)),
    st.builds(frame, st.integers(0, 15), _payloads, fin=st.booleans(), rsv=st.integers(0, 7),
              mask=st.one_of(st.none(), st.binary(min_size=4, max_size=4)), width=st.sampled_from([None, 2, 8])),
)  # fmt: skip
wires = st.one_of(
    st.lists(_frames, max_size=6).map(b"".join),
    st.tuples(st.lists(_frames, max_size=4).map(b"".join), st.binary(max_size=30)).map(b"".join),
)
