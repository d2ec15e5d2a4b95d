"""Compressed messages, and what they may cost (RFC 7692)."""

import tracemalloc
import zlib
from typing import Any, Final

import pytest

from tests.helpers.ws_frames import BINARY, CONTINUATION, PING, TEXT, Frame, events_of, frame, read_frames
from trioserve._protocol.websocket.codec import COMPRESS_FROM, Close, Ping, WebSocketCodec
from trioserve._protocol.websocket.deflate import UNPACK_BYTES
from trioserve._protocol.websocket.handshake import DeflateTerms

RSV1: Final = 4
PLAIN_TERMS: Final = DeflateTerms(b"permessage-deflate", 15, 15, True, True)


class Packer:
    """A client's compressor."""

    def __init__(self, *, takeover: bool = True, bits: int = 15) -> None:
        self._takeover = takeover
        self._bits = bits
        self._zlib = zlib.compressobj(6, zlib.DEFLATED, -bits)

    def __call__(self, payload: bytes) -> bytes:
        packed = self._zlib.compress(payload) + self._zlib.flush(zlib.Z_SYNC_FLUSH)
        if not self._takeover:
            self._zlib = zlib.compressobj(6, zlib.DEFLATED, -self._bits)
        return packed[:-4]


class Unpacker:
    """A client's decompressor."""

    def __init__(self, bits: int = 15) -> None:
        self._zlib = zlib.decompressobj(-bits)

    def __call__(self, sent: bytes) -> bytes:
        [read] = read_frames(sent)
        assert read.rsv == RSV1
        return self._zlib.decompress(read.payload + b"\0\0\xff\xff")


def codec(max_size: int = 1 << 24, terms: DeflateTerms = PLAIN_TERMS) -> WebSocketCodec:
    return WebSocketCodec(max_size, terms)


def both_ways(wire: bytes, **arguments: Any) -> list[Any]:
    """The events in ``wire``, whole and byte by byte."""
    whole = events_of(codec(**arguments), wire)
    assert events_of(codec(**arguments), *(wire[i : i + 1] for i in range(len(wire)))) == whole
    return whole


# -- §6.2, §7.2.2: what arrives ----------------------------------------------------------------------------------------


def test_a_compressed_message() -> None:
    pack = Packer()
    assert both_ways(frame(TEXT, pack(b"hello"), rsv=RSV1)) == ["hello"]


def test_messages_refer_to_earlier_ones() -> None:
    pack = Packer()
    wire = b"".join(frame(BINARY, pack(b"hello again " * 5), rsv=RSV1) for _ in range(3))
    assert len(wire) < 100
    assert both_ways(wire) == [b"hello again " * 5] * 3


def test_messages_that_do_not_refer_to_earlier_ones() -> None:
    pack = Packer(takeover=False)
    wire = b"".join(frame(BINARY, pack(b"hello again " * 5), rsv=RSV1) for _ in range(3))
    for terms in (PLAIN_TERMS, DeflateTerms(b"", 15, 15, True, client_takeover=False)):
        assert both_ways(wire, terms=terms) == [b"hello again " * 5] * 3


@pytest.mark.parametrize("bits", [9, 12, 15])
def test_smaller_windows(bits: int) -> None:
    pack = Packer(bits=bits)
    data = bytes(index * 7 % 251 for index in range(5000)) * 10
    wire = frame(BINARY, pack(data), rsv=RSV1) + frame(BINARY, pack(data), rsv=RSV1)
    assert events_of(codec(terms=DeflateTerms(b"", 15, bits, True, True)), wire) == [data, data]


def test_a_client_may_send_plain_messages_too() -> None:
    pack = Packer()
    wire = frame(TEXT, b"plain") + frame(TEXT, pack(b"packed"), rsv=RSV1) + frame(TEXT, b"plain")
    assert both_ways(wire) == ["plain", "packed", "plain"]


def test_fragments_with_a_ping_between_them() -> None:
    packed = Packer()(b"hello" * 10)
    wire = frame(PING, b"1") + frame(TEXT, packed[:3], fin=False, rsv=RSV1) + frame(PING, b"2")
    wire += frame(CONTINUATION, packed[3:4], fin=False) + frame(PING, b"3") + frame(CONTINUATION, packed[4:])
    assert both_ways(wire) == [Ping(b"1"), Ping(b"2"), Ping(b"3"), "hello" * 10]


def test_empty_messages() -> None:
    assert both_ways(frame(TEXT, b"\0", rsv=RSV1)) == [""]  # §7.2.3.6
    assert both_ways(frame(TEXT, b"", rsv=RSV1)) == [""]


def test_a_final_block() -> None:  # §7.2.3.4
    packed = bytes.fromhex("f348cdc9c90700")
    assert both_ways(frame(TEXT, packed, rsv=RSV1) + frame(TEXT, packed + b"\0", rsv=RSV1)) == ["Hello", "Hello"]


@pytest.mark.parametrize("wire", [
    frame(CONTINUATION, b"x", rsv=RSV1), frame(PING, b"x", rsv=RSV1), frame(TEXT, b"x", rsv=2),
    frame(TEXT, b"\0", fin=False, rsv=RSV1) + frame(CONTINUATION, b"\0", rsv=RSV1)])
def test_a_bit_where_it_means_nothing(wire: bytes) -> None:
    [end] = both_ways(wire)
    assert (end.code, end.failed) == (1002, True)


@pytest.mark.parametrize("payload", [b"\xff" * 10, b"\x07", b"\xf3\x48\xcd\xc9\xc9\x07\x00" + b"x" * 10])
def test_what_cannot_be_unpacked(payload: bytes) -> None:
    [end] = both_ways(frame(BINARY, payload, rsv=RSV1))
    assert (end.code, end.failed) == (1007, True)


@pytest.mark.parametrize("packed", [Packer()(b"whole"), bytes.fromhex("f348cdc9c90700")])
def test_a_continuation_of_nothing_is_refused_like_any_other(packed: bytes) -> None:
    *_, end = both_ways(frame(TEXT, packed, rsv=RSV1) + frame(CONTINUATION, b"x"))
    assert (end.code, end.failed) == (1002, True)


def test_unpacked_text_is_utf_8() -> None:
    [end] = both_ways(frame(TEXT, Packer()(b"ab\xff"), rsv=RSV1))
    assert end.code == 1007


# -- §8: what it may cost ----------------------------------------------------------------------------------------------


def test_the_limit_holds_for_what_is_unpacked() -> None:
    pack = Packer(takeover=False)
    assert both_ways(frame(BINARY, pack(b"x" * 1000), rsv=RSV1) * 2, max_size=1000) == [b"x" * 1000] * 2
    [end] = both_ways(frame(BINARY, pack(b"x" * 1001), rsv=RSV1), max_size=1000)
    assert (end.code, end.failed) == (1009, True)


def test_a_bomb_takes_no_more_memory_than_the_limit() -> None:
    bomb = zlib.compress(b"\0" * (100 << 20), 9)[2:]
    limit = 1 << 20
    reader = codec(limit)
    wire = frame(BINARY, bomb, rsv=RSV1)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        [end] = events_of(reader, wire)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(end, Close)
    assert end.code == 1009
    assert peak - before < 6 * limit


AROUND_A_STEP: Final = [UNPACK_BYTES * steps + more for steps in (1, 2) for more in (-1, 0, 1, 257, 258, 259)]


@pytest.mark.parametrize("size", AROUND_A_STEP)
def test_messages_that_are_as_long_as_what_is_unpacked_at_a_time(size: int) -> None:
    pack = Packer()
    message = b"x" * size
    wire = frame(TEXT, pack(message), rsv=RSV1) + frame(PING, b"p") + frame(TEXT, pack(b"more"), rsv=RSV1)
    assert events_of(codec(size), wire) == [message.decode(), Ping(b"p"), "more"]
    [end] = events_of(codec(size - 1), wire)
    assert (end.code, end.failed) == (1009, True)


@pytest.mark.parametrize("size", AROUND_A_STEP)
def test_a_final_block_at_the_end_of_several_steps(size: int) -> None:
    packed = zlib.compress(b"x" * size)[2:-4]
    wire = frame(TEXT, packed, rsv=RSV1) + frame(TEXT, packed + b"\0", rsv=RSV1)
    assert events_of(codec(), wire) == ["x" * size] * 2
    [end] = events_of(codec(), frame(TEXT, packed + b"\0" * 2, rsv=RSV1))
    assert (end.code, end.failed) == (1007, True)


def test_a_bomb_in_many_fragments() -> None:
    pack = Packer()
    reader = codec(1 << 20)
    events = events_of(reader, frame(BINARY, b"", rsv=RSV1, fin=False))
    for _ in range(20):
        events += events_of(reader, frame(CONTINUATION, pack(b"\0" * 100_000) + b"\0\0\xff\xff", fin=False))
    assert [event.code for event in events] == [1009]


# -- §7.2.1: what is sent ----------------------------------------------------------------------------------------------


def test_a_small_message_is_not_worth_it() -> None:
    sender = codec()
    assert read_frames(sender.text("x" * (COMPRESS_FROM - 1))) == [Frame(TEXT, b"x" * (COMPRESS_FROM - 1))]
    assert read_frames(sender.text("x" * COMPRESS_FROM))[0].rsv == RSV1


@pytest.mark.parametrize("bits", [9, 12, 15])
@pytest.mark.parametrize("takeover", [True, False])
def test_a_client_unpacks_what_was_sent(bits: int, takeover: bool) -> None:
    sender = codec(terms=DeflateTerms(b"", bits, 15, takeover, True))
    unpack = Unpacker(bits)
    text = "".join(f"{index}, " for index in range(20_000))
    for _ in range(3):
        assert unpack(sender.text(text)) == text.encode()
        assert unpack(sender.binary(b"\0" * 5000)) == b"\0" * 5000


def test_earlier_messages_are_referred_to_if_the_client_does_not_mind() -> None:
    data = bytes(index * index % 251 for index in range(COMPRESS_FROM))
    for takeover in (True, False):
        sender = codec(terms=DeflateTerms(b"", 15, 15, takeover, True))
        first, second = len(sender.binary(data)), len(sender.binary(data))
        assert (second < first / 5) is takeover


def test_what_an_idle_connection_gives_up_nobody_misses() -> None:
    sender, unpack = codec(), Unpacker()
    data = bytes(index * index % 251 for index in range(COMPRESS_FROM))
    sizes = []
    for rests in (0, 1, 0, 2, 0):
        sent = sender.binary(data)
        sizes.append(len(sent))
        assert unpack(sent) == data
        for _ in range(rests):
            sender.rest()
    assert max(sizes[1:4]) < sizes[0] / 5  # one rest is not enough: it was used since the one before
    assert sizes[4] == sizes[0]


def test_counts_are_those_of_the_wire() -> None:
    sender = codec()
    sent = sender.text("x" * 10_000)
    assert (sender.sent_messages, sender.sent_bytes) == (1, len(read_frames(sent)[0].payload))
    packed = Packer()(b"x" * 10_000)
    events_of(sender, frame(TEXT, packed, rsv=RSV1))
    assert (sender.received_messages, sender.received_bytes) == (1, len(packed))
