"""What one call of ``next_event`` may do, whatever a client has sent: counted, in wsproto, in zlib and in copies."""

import zlib
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

import pytest
from wsproto.frame_protocol import Frame, FrameDecoder

from tests.helpers.ws_frames import BINARY, CONTINUATION, PING, TEXT, close_frame, frame
from trioserve._protocol.websocket.codec import BUSY, FRAME_COST, Close, WebSocketCodec
from trioserve._protocol.websocket.deflate import UNPACK_BYTES
from trioserve._protocol.websocket.frame_reader import PIECE_BYTES, PIECE_COST, WORK_PER_CALL
from trioserve._protocol.websocket.handshake import DeflateTerms

RECEIVED: Final = 64 * 1024  # bytes that come together
MAX_SIZE: Final = 16 << 20
TERMS: Final = DeflateTerms(b"permessage-deflate", 15, 15, True, True)


def packed(payload: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_FULL_FLUSH))[:-4]


def many(part: bytes, before: bytes = b"") -> bytes:
    return before + part * ((RECEIVED - len(before)) // len(part))


BEGIN: Final = frame(BINARY, fin=False)
BEGIN_PACKED: Final = frame(TEXT, fin=False, rsv=4)
FLOODS: Final = {
    "empty fragments": many(frame(CONTINUATION, fin=False), BEGIN),
    "fragments of 1 byte": many(frame(CONTINUATION, b"a", fin=False), BEGIN),
    "fragments of 2000 bytes": many(frame(CONTINUATION, b"a" * 2000, fin=False), BEGIN),
    "pings": many(frame(PING)),
    "pings in a message": many(frame(PING, b"p"), BEGIN),
    "empty messages": many(frame(TEXT)),
    "small messages": many(frame(TEXT, b"a")),
    "small compressed messages": many(frame(TEXT, packed(b"a"), rsv=4)),
    "small bombs": many(frame(TEXT, packed(b"a" * 60_000), rsv=4)),
    "small bombs as fragments": many(
        frame(CONTINUATION, packed(b"a" * 60_000) + b"\0\0\xff\xff", fin=False), BEGIN_PACKED),
    "a bomb over the limit": frame(BINARY, packed(bytes(64 << 20)), rsv=4),
    "a bomb within the limit": frame(BINARY, packed(bytes(MAX_SIZE)), rsv=4),
    "a bomb of text": frame(TEXT, packed(b"a" * MAX_SIZE), rsv=4),
    "one frame": frame(BINARY, b"a" * MAX_SIZE)[: 4 * RECEIVED],
}  # fmt: skip


class Counts:
    """What the codec has let others do since the last ``clear``.

    Attributes:
        pieces: calls of wsproto's decoder.
        passed_on: bytes that it was given.
        unpacked: bytes that came out of zlib.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clear()
        process, receive, new = FrameDecoder.process_buffer, FrameDecoder.receive_bytes, zlib.decompressobj

        def process_buffer(decoder: FrameDecoder) -> Frame | None:
            self.pieces += 1
            return process(decoder)

        def receive_bytes(decoder: FrameDecoder, data: bytes) -> None:
            self.passed_on += len(data)
            receive(decoder, data)

        monkeypatch.setattr(FrameDecoder, "process_buffer", process_buffer)
        monkeypatch.setattr(FrameDecoder, "receive_bytes", receive_bytes)
        monkeypatch.setattr(zlib, "decompressobj", lambda bits: CountingDecompressor(self, new(bits)))

    def clear(self) -> None:
        self.pieces = self.passed_on = self.unpacked = 0


class CountingDecompressor:
    def __init__(self, counts: Counts, real: Any) -> None:
        self._counts = counts
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        unpacked: bytes = self._real.decompress(data, max_length)
        self._counts.unpacked += len(unpacked)
        return unpacked


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counts:
    return Counts(monkeypatch)


class Sliced(bytes):
    """Counts the bytes that are copied out of it."""

    copied = 0

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        if isinstance(part, bytes):
            self.copied += len(part)
        return part


def each_call(codec: WebSocketCodec, wire: bytes) -> Iterator[Any]:
    """What each call gives, but for the ``None`` at the end."""
    codec.receive_data(wire)
    while (event := codec.next_event()) is not None:
        yield event


@pytest.mark.parametrize("flood", FLOODS)
def test_a_call_does_no_more_than_it_may_and_counts_it(flood: str, counts: Counts) -> None:
    codec = WebSocketCodec(MAX_SIZE, TERMS)
    before = 0
    for event in each_call(codec, FLOODS[flood]):
        assert counts.pieces <= WORK_PER_CALL // PIECE_COST + 1
        assert counts.passed_on <= WORK_PER_CALL + PIECE_BYTES
        assert counts.unpacked <= WORK_PER_CALL + UNPACK_BYTES
        work, before = codec.work - before, codec.work
        assert work < WORK_PER_CALL + PIECE_COST + PIECE_BYTES + UNPACK_BYTES
        assert work >= counts.pieces * PIECE_COST + counts.passed_on + counts.unpacked or isinstance(event, Close)
        assert event is not BUSY or work >= WORK_PER_CALL  # nobody is sent away for nothing
        counts.clear()


@pytest.mark.parametrize("flood", FLOODS)
def test_what_waits_is_not_copied_again_and_again(flood: str) -> None:
    wire = Sliced(FLOODS[flood])
    codec = WebSocketCodec(MAX_SIZE, TERMS)
    for _ in each_call(codec, wire):
        pass
    assert wire.copied <= 4 * len(wire)  # 14 bytes, where a header could be, are more than a small frame


@pytest.mark.parametrize("flood", ["empty fragments", "fragments of 1 byte", "fragments of 2000 bytes"])
def test_who_comes_back_gets_the_message(flood: str) -> None:
    wire = FLOODS[flood] + frame(CONTINUATION, b"z") + frame(TEXT, b"next")
    *busy, message, after = each_call(WebSocketCodec(MAX_SIZE), wire)
    assert busy
    assert set(map(type, busy)) == {type(BUSY)}
    assert message.endswith(b"z")
    assert after == "next"


def test_a_message_is_unpacked_in_steps_although_nothing_is_left_to_receive() -> None:
    *busy, message, after = each_call(WebSocketCodec(MAX_SIZE, TERMS), FLOODS["a bomb of text"] + frame(TEXT, b"next"))
    assert len(busy) >= MAX_SIZE // (WORK_PER_CALL + UNPACK_BYTES) - 1
    assert set(busy) == {BUSY}
    assert message == "a" * MAX_SIZE
    assert after == "next"


def test_what_arrives_while_there_is_work_to_do_comes_after_it() -> None:
    codec = WebSocketCodec(MAX_SIZE, TERMS)
    codec.receive_data(FLOODS["a bomb of text"])
    assert codec.next_event() is BUSY
    assert [event for event in each_call(codec, close_frame(1000)) if event is not BUSY] == [
        "a" * MAX_SIZE, Close(1000, "", failed=False)]


def test_work_never_gets_less_and_tells_what_whole_messages_cost() -> None:
    codec = WebSocketCodec(MAX_SIZE)
    seen = [codec.work]
    for _ in each_call(codec, frame(TEXT) + frame(BINARY, b"a" * 100) + frame(PING, b"p")):
        seen.append(codec.work)
    assert [after - before for before, after in pairwise(seen)] == [
        FRAME_COST, FRAME_COST + 100, FRAME_COST + 1]
