"""What frames mean, in the order of RFC 6455; every wire is also fed byte by byte and cut in two everywhere."""

import gc
import tracemalloc
from typing import Any

import pytest
from wsproto.connection import SERVER, Connection
from wsproto.events import BytesMessage, CloseConnection, TextMessage
from wsproto.events import Ping as WsprotoPing
from wsproto.events import Pong as WsprotoPong

from tests.helpers.ws_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    close_frame,
    events_of,
    every_way,
    frame,
    read_frames,
)
from trioserve._protocol.websocket.codec import Close, Ping, Pong, WebSocketCodec
from trioserve._protocol.websocket.frame_reader import PIECE_BYTES

SIZES = [0, 1, 2, 124, 125, 126, 127, 2047, 2049, 65535, 65536, 100_000]


def only_close(wire: bytes, **limits: int) -> Close:
    """The one event in ``wire`` is the end."""
    [event] = every_way(wire, **limits)
    assert isinstance(event, Close)
    return event


# -- §5.1: masking -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
@pytest.mark.parametrize("payload", [b"", b"abcd", b"x" * 50])
def test_an_unmasked_frame_is_refused(opcode: int, payload: bytes) -> None:
    end = only_close(frame(opcode, payload, mask=None))
    assert (end.code, end.failed) == (1002, True)


# -- §5.2: the frame ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_messages_of_every_length(size: int) -> None:
    text, data = "é" * (size // 2) + "a" * (size % 2), bytes(index % 251 for index in range(size))
    assert every_way(frame(TEXT, text.encode())) == [text]
    assert every_way(frame(BINARY, data)) == [data]


@pytest.mark.parametrize("cut", [1, 8, 13, 14, 15, 18, PIECE_BYTES + 15, 2 * PIECE_BYTES + 17])
def test_a_large_frame_that_comes_in_two_and_is_read_in_pieces(cut: int) -> None:
    text = "aé" * PIECE_BYTES
    wire = frame(TEXT, text.encode(), mask=b"\x01\x02\x30\x04") + frame(BINARY, b"b")
    assert events_of(WebSocketCodec(len(wire)), wire[:cut], wire[cut:]) == [text, b"b"]


@pytest.mark.parametrize("mask", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x00\x01\x80\xfe"])
def test_any_mask(mask: bytes) -> None:
    assert every_way(frame(TEXT, b"hello", mask=mask)) == ["hello"]


@pytest.mark.parametrize(("length", "width"), [(0, 2), (125, 2), (0, 8), (125, 8), (65535, 8), (1 << 63, 8)])
def test_a_length_that_is_not_the_shortest_or_has_its_top_bit_set(length: int, width: int) -> None:
    assert only_close(frame(BINARY, b"", length=length, width=width)).code == 1002


@pytest.mark.parametrize("rsv", range(1, 8))
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING])
def test_reserved_bits(rsv: int, opcode: int) -> None:
    assert only_close(frame(opcode, b"x", rsv=rsv)).code == 1002


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("payload", [b"", b"x" * 10])
def test_reserved_opcodes(opcode: int, payload: bytes) -> None:
    assert only_close(frame(opcode, payload)).code == 1002


def test_the_first_two_bytes_of_a_header_can_be_wrong_already() -> None:
    codec = WebSocketCodec(100)
    [end] = events_of(codec, bytes((0x83, 0xFF)))
    assert end.code == 1002
    assert codec.closed


def test_many_messages_in_one_piece() -> None:
    assert every_way(frame(TEXT, b"a") + frame(BINARY, b"b") + frame(TEXT) + frame(BINARY)) == ["a", b"b", "", b""]


# -- §5.4: fragments ---------------------------------------------------------------------------------------------------


def test_fragments_are_joined() -> None:
    text = "hellö wörld €".encode()
    wire = b"".join(
        frame(TEXT if index == 0 else CONTINUATION, text[index : index + 1], fin=index == len(text) - 1)
        for index in range(len(text))
    )
    assert every_way(wire) == ["hellö wörld €"]


def test_small_and_large_fragments_in_turn() -> None:
    sizes = [1, 1024, 1025, 0, 3, 5000, 5000, 2] * 3
    text = "".join(chr(97 + index) * size for index, size in enumerate(sizes))
    wire, start = frame(TEXT, fin=False), 0
    for size in sizes:
        wire += frame(CONTINUATION, text[start : start + size].encode(), fin=False)
        start += size
    assert every_way(wire + frame(CONTINUATION)) == [text]


def test_empty_fragments() -> None:
    wire = frame(BINARY, fin=False) + frame(CONTINUATION, fin=False) + frame(CONTINUATION, b"a", fin=False)
    assert every_way(wire + frame(CONTINUATION)) == [b"a"]
    assert every_way(frame(TEXT, fin=False) + frame(CONTINUATION)) == [""]


def test_control_frames_between_fragments() -> None:
    wire = frame(TEXT, b"a", fin=False) + frame(PING, b"p") + frame(CONTINUATION, b"b", fin=False) + frame(PONG, b"q")
    assert every_way(wire + frame(CONTINUATION, b"c")) == [Ping(b"p"), Pong(b"q"), "abc"]


def test_after_a_fragmented_message_comes_a_plain_one() -> None:
    wire = frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b") + frame(TEXT, b"c")
    assert every_way(wire) == ["ab", "c"]


@pytest.mark.parametrize("wire", [
    frame(CONTINUATION, b"a"), frame(CONTINUATION, b"a", fin=False),
    frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), frame(TEXT, b"a", fin=False) + frame(BINARY, b"b", fin=False)])
def test_fragments_out_of_order(wire: bytes) -> None:
    assert only_close(wire).code == 1002


def test_many_small_fragments_take_no_more_memory_than_their_bytes() -> None:
    wire = frame(TEXT, b"ab", fin=False) + frame(CONTINUATION, b"cd", fin=False) * 20_000
    codec = WebSocketCodec(1 << 24)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for start in range(0, len(wire), 8000):
            assert events_of(codec, wire[start : start + 8000]) == []
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held - before < 150_000  # as separate strings, 1 MB
    assert events_of(codec, frame(CONTINUATION)) == ["ab" + "cd" * 20_000]


# -- §5.5: control frames ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [b"", b"a", b"\xff" * 125])
def test_pings_and_pongs(payload: bytes) -> None:
    assert every_way(frame(PING, payload) + frame(PONG, payload)) == [Ping(payload), Pong(payload)]


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_a_control_frame_is_small_and_whole(opcode: int) -> None:
    payload = b"\x03\xe8" + b"x" * 124
    assert only_close(frame(opcode, payload)).code == 1002
    assert only_close(frame(opcode, payload[:2], fin=False)).code == 1002


# -- §5.5.1, §7.1.5, §7.4: closing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999])
@pytest.mark.parametrize("reason", ["", "going away", "é" * 61])
def test_a_close_frame_says_why(code: int, reason: str) -> None:
    assert only_close(close_frame(code, reason.encode())) == Close(code, reason, failed=False)


def test_a_close_frame_need_not_say_why() -> None:
    assert only_close(close_frame()) == Close(1005, "", failed=False)


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
def test_codes_that_nobody_may_send(code: int) -> None:
    end = only_close(close_frame(code))
    assert (end.code, end.failed) == (1002, True)


def test_half_a_code() -> None:
    assert only_close(frame(CLOSE, b"\x03")).code == 1002


def test_a_reason_that_is_no_text() -> None:
    assert only_close(close_frame(1000, b"\xff")).code == 1007


def test_after_a_close_frame_nothing_is_read() -> None:
    codec = WebSocketCodec(100)
    assert events_of(codec, close_frame(1000) + frame(TEXT, b"late"), frame(TEXT, b"later")) == [Close(1000, "", False)]
    assert codec.closed


def test_messages_before_a_close_frame_are_not_lost() -> None:
    wire = frame(TEXT, b"a") + frame(TEXT, b"b") + close_frame(1001, b"bye")
    assert every_way(wire) == ["a", "b", Close(1001, "bye", failed=False)]


# -- §8.1: text is UTF-8 -----------------------------------------------------------------------------------------------

INVALID = [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80", b"ab\xe2\x82", b"\xf0\x9f\x98"]


@pytest.mark.parametrize("payload", INVALID)
def test_text_that_is_no_utf_8(payload: bytes) -> None:
    end = only_close(frame(TEXT, payload))
    assert (end.code, end.failed) == (1007, True)
    assert every_way(frame(BINARY, payload)) == [payload]


def test_it_is_refused_as_soon_as_it_is_seen() -> None:
    [end] = events_of(WebSocketCodec(1 << 20), frame(TEXT, b"ab\xff" + b"c" * 1000)[:20])
    assert end.code == 1007
    [end] = events_of(WebSocketCodec(1 << 20), frame(TEXT, b"ab\xff", fin=False))
    assert end.code == 1007


def test_a_character_may_be_cut_by_a_fragment_but_not_by_the_end() -> None:
    euro = "€".encode()
    assert every_way(frame(TEXT, euro[:1], fin=False) + frame(CONTINUATION, euro[1:])) == ["€"]
    assert only_close(frame(TEXT, euro[:1], fin=False) + frame(CONTINUATION, euro[1:2])).code == 1007


# -- §10.4: limits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("max_size", [1, 10, 125, 126, 1000, 70_000])
def test_a_message_of_the_largest_size_and_one_more(opcode: int, max_size: int) -> None:
    [message] = every_way(frame(opcode, b"x" * max_size), max_size=max_size)
    assert len(message) == max_size
    end = only_close(frame(opcode, b"x" * (max_size + 1)), max_size=max_size)
    assert (end.code, end.failed) == (1009, True)
    assert str(max_size) in end.reason


def test_it_is_refused_before_its_payload_is_there() -> None:
    [end] = events_of(WebSocketCodec(1 << 24), frame(BINARY, length=1 << 40))
    assert end.code == 1009


def test_a_message_grows_too_big_by_its_fragments() -> None:
    wire = frame(BINARY, b"x" * 60, fin=False) + frame(CONTINUATION, b"x" * 40, fin=False)
    assert every_way(wire + frame(CONTINUATION), max_size=100) == [b"x" * 100]
    assert only_close(wire + frame(CONTINUATION, b"x"), max_size=100).code == 1009


def test_the_next_message_is_counted_afresh() -> None:
    wire = frame(TEXT, b"a" * 60, fin=False) + frame(CONTINUATION, b"b" * 40)
    assert len(every_way(wire * 3 + frame(TEXT, b"c" * 100), max_size=100)) == 4


def test_control_frames_do_not_count() -> None:
    wire = frame(TEXT, b"a" * 10, fin=False) + frame(PING, b"p" * 100) + frame(CONTINUATION)
    assert every_way(wire, max_size=10) == [Ping(b"p" * 100), "a" * 10]


def test_what_is_wrong_is_wrong_before_it_is_too_big() -> None:
    assert only_close(frame(TEXT, mask=None, length=1000), max_size=10).code == 1002


# -- counts and memory -------------------------------------------------------------------------------------------------


def test_messages_and_their_bytes_are_counted() -> None:
    codec = WebSocketCodec(1 << 20)
    events_of(codec, frame(TEXT, b"abc"), frame(BINARY, b"d"), frame(PING, b"not counted"),
              frame(TEXT, b"ab", fin=False), frame(CONTINUATION, b"cd"))  # fmt: skip
    assert (codec.received_messages, codec.received_bytes) == (3, 8)
    codec.text("é")
    codec.binary(b"x" * 1000)
    codec.ping()
    assert (codec.sent_messages, codec.sent_bytes) == (2, 1002)


@pytest.mark.parametrize("wire", [
    frame(TEXT, b"x" * 60_000), frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b" * 60_000), frame(PING, b"p"),
    frame(BINARY, b"x" * 100_000)])
def test_between_messages_nothing_is_kept(wire: bytes) -> None:
    pieces = [wire[start : start + 30_000] for start in range(0, len(wire), 30_000)]
    events_of(WebSocketCodec(1 << 20), *pieces)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        codecs = [WebSocketCodec(1 << 20) for _ in range(100)]
        for codec in codecs:
            events_of(codec, *pieces)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (held - before) / len(codecs) < 1300  # wsproto's connection alone has 1700


# -- what is sent: the bytes that wsproto would send -------------------------------------------------------------------


def wsproto_sends(event: Any) -> bytes:
    return bytes(Connection(SERVER).send(event))


@pytest.mark.parametrize("size", SIZES)
def test_messages(size: int) -> None:
    text, data = "é" * (size // 2) + "a" * (size % 2), bytes(index % 251 for index in range(size))
    assert WebSocketCodec(1).text(text) == wsproto_sends(TextMessage(text))
    assert WebSocketCodec(1).binary(data) == wsproto_sends(BytesMessage(data))


@pytest.mark.parametrize("payload", [b"", b"a", b"x" * 125])
def test_control_frames(payload: bytes) -> None:
    assert WebSocketCodec(1).ping(payload) == wsproto_sends(WsprotoPing(payload))
    assert WebSocketCodec(1).pong(payload) == wsproto_sends(WsprotoPong(payload))


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
@pytest.mark.parametrize("reason", ["", "bye", "x" * 123, "x" * 124, "é" * 62, "x" + "€" * 50])
def test_close_frames(code: int, reason: str) -> None:
    made = WebSocketCodec(1).close(code, reason)
    assert made == wsproto_sends(CloseConnection(code, reason))
    [read] = read_frames(made)
    assert read.close_code == code
    assert reason.startswith(read.close_reason)


def test_a_close_frame_without_a_code() -> None:
    assert read_frames(WebSocketCodec(1).close(1005, "ignored"))[0].payload == b""


def test_half_of_a_surrogate_pair_cannot_be_sent() -> None:
    with pytest.raises(UnicodeEncodeError):
        WebSocketCodec(1).text("\ud800")
