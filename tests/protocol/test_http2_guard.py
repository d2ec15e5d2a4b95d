"""What is looked at before an engine sees it: rates of frames, and the rules that engines do not know."""

from collections.abc import Mapping

import pytest

from trioserve._protocol.http2.frames import (
    ENHANCE_YOUR_CALM,
    FRAME_SIZE_ERROR,
    PREFACE,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
    FieldSectionTooLarge,
    Http2Error,
)
from trioserve._protocol.http2.guard import CONTINUATIONS, Allowance, FrameGuard

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK, PADDED = 1, 4, 1, 8


def frame(kind: int, flags: int = 0, stream_id: int = 1, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream_id.to_bytes(4, "big") + payload


BEGINNING = PREFACE + frame(SETTINGS, 0, 0)


class Streams:
    """Those that are open, as whoever hears of requests knows them; true: the client has something of the answer."""

    def __init__(self, answered: Mapping[int, bool]) -> None:
        self._answered = answered

    def is_open(self, stream_id: int) -> bool:
        return stream_id in self._answered

    def is_answered(self, stream_id: int) -> bool:
        return self._answered[stream_id]


def guard(*, resets: int | None = None, control: int | None = None) -> FrameGuard:
    return FrameGuard(1000, Allowance(resets, 10.0, 0.0), Allowance(control, 10.0, 0.0))


NO_STREAMS = Streams({})


def feed(
    watched: FrameGuard, data: bytes, piece: int, now: float = 0.0, streams: Streams = NO_STREAMS
) -> None:
    for start in range(0, len(data), piece):
        watched.look_at(data[start : start + piece], now, streams)


def test_an_allowance_comes_back_with_time() -> None:
    allowance = Allowance(10, 5.0, 100.0)
    assert allowance.take(10, 100.0)
    assert not allowance.take(1, 100.0)
    assert allowance.take(9, 105.0)  # all of it, but for the one too many
    assert allowance.take(10, 200.0)  # never more than it was
    assert not allowance.take(1, 200.0)


def test_an_allowance_without_a_limit() -> None:
    assert Allowance(None, 5.0, 0.0).take(10**9, 0.0)


@pytest.mark.parametrize("piece", [1, 7, 9, 1000])
@pytest.mark.parametrize("counted", [
    frame(PING, 0, 0, bytes(8)), frame(SETTINGS, 0, 0), frame(PRIORITY, 0, 3, bytes(5)), frame(DATA),
    frame(DATA, PADDED, 1, b"\0"), frame(DATA, PADDED, 1, b"\xff" + bytes(255)),
    frame(WINDOW_UPDATE, 0, 0, bytes(4)), frame(0xEE, 0xFF, 9, b"x" * 30),
], ids=lambda counted: f"{counted[3]}, {counted[2]} bytes")  # fmt: skip
def test_frames_without_progress_are_counted(counted: bytes, piece: int) -> None:
    watched = guard(control=11)
    feed(watched, BEGINNING + counted * 10, piece)  # and the first settings
    with pytest.raises(Http2Error) as caught:
        feed(watched, counted, piece)
    assert caught.value.code == ENHANCE_YOUR_CALM


@pytest.mark.parametrize("piece", [1, 1000])
@pytest.mark.parametrize("free", [
    frame(HEADERS, END_HEADERS, 1, b"\x82"), frame(DATA, 0, 1, b"x"), frame(DATA, END_STREAM),
    frame(DATA, END_STREAM | PADDED, 1, b"\0"), frame(DATA, PADDED, 1, b"\xff" + bytes(256)),
], ids=["head", "body", "end", "padded end", "padded body"])  # fmt: skip
def test_progress_is_free(free: bytes, piece: int) -> None:
    feed(guard(control=1, resets=1), BEGINNING + free * 100, piece)


def test_a_little_body_beside_padding_is_free() -> None:
    feed(guard(control=1), BEGINNING + frame(DATA, PADDED, 1, b"\2x\0\0") * 100, 1_000_000)


def rapid_resets(first: int, last: int) -> bytes:
    """Requests on these streams, each reset at once."""
    return b"".join(
        frame(HEADERS, END_HEADERS | END_STREAM, number, b"\x82") + frame(RST_STREAM, 0, number, bytes(4))
        for number in range(first, last + 1, 2)
    )


@pytest.mark.parametrize("piece", [1, 7, 30, 1000])
def test_resets_are_counted(piece: int) -> None:
    watched, streams = guard(resets=10), Streams(dict.fromkeys(range(1, 30, 2), False))
    feed(watched, BEGINNING + rapid_resets(1, 19), piece, 0.0, streams)
    feed(watched, rapid_resets(21, 21), piece, 1.0, streams)  # a tenth of the time later
    with pytest.raises(Http2Error) as caught:
        feed(watched, rapid_resets(23, 23), piece, 1.0, streams)
    assert (caught.value.code, caught.value.limit) == (ENHANCE_YOUR_CALM, "limit_http2_resets")


def test_resets_of_what_nobody_has_heard_of_are_counted() -> None:
    watched = guard(resets=10)
    feed(watched, BEGINNING + rapid_resets(1, 19), 1000)
    with pytest.raises(Http2Error) as caught:
        feed(watched, rapid_resets(21, 21), 1000)
    assert (caught.value.code, caught.value.limit) == (ENHANCE_YOUR_CALM, "limit_http2_resets")


@pytest.mark.parametrize("split", [5, 9], ids=["in its frame header", "before its fields"])
def test_resets_of_what_nobody_has_heard_all_of_are_counted(split: int) -> None:
    """Requests are cut, so that each has begun before the piece with its reset."""
    watched = guard(resets=10)
    feed(watched, BEGINNING, 1000)
    with pytest.raises(Http2Error) as caught:
        for number in range(1, 27, 2):
            data = rapid_resets(number, number) + rapid_resets(number + 2, number + 2)[:split]
            watched.look_at(data[split if number > 1 else 0 :], 0.0, NO_STREAMS)
    assert (caught.value.code, caught.value.limit) == (ENHANCE_YOUR_CALM, "limit_http2_resets")


@pytest.mark.parametrize("piece", [1, 7, 30, 1000])
@pytest.mark.parametrize("open_streams", [{}, dict.fromkeys(range(1, 200, 2), True)], ids=["ended", "answered"])
def test_resets_after_an_answer_are_control_frames(open_streams: dict[int, bool], piece: int) -> None:
    watched, streams = guard(resets=1, control=100), Streams(open_streams)
    numbers = range(1, 200, 2)
    heads = b"".join(frame(HEADERS, END_HEADERS | END_STREAM, number, b"\x82") for number in numbers)
    feed(watched, BEGINNING + heads, 1000, 0.0, streams)
    feed(watched, b"".join(frame(RST_STREAM, 0, number, bytes(4)) for number in numbers[:-1]), piece, 0.0, streams)
    with pytest.raises(Http2Error) as caught:
        feed(watched, frame(RST_STREAM, 0, 1, bytes(4)), piece, 0.0, streams)
    assert (caught.value.code, caught.value.limit) == (ENHANCE_YOUR_CALM, "limit_http2_control_frames")


def test_what_is_sent_is_worth_window_updates() -> None:
    watched = guard(control=2)
    feed(watched, BEGINNING + frame(WINDOW_UPDATE, 0, 0, bytes(4)), 1000)
    watched.control.give(5)
    feed(watched, frame(WINDOW_UPDATE, 0, 0, bytes(4)) * 2, 1000)


@pytest.mark.parametrize("piece", [1, 1000])
@pytest.mark.parametrize(("payload", "count"), [(b"", CONTINUATIONS + 1), (b"x" * 400, 6)])
def test_a_field_section_has_an_end(payload: bytes, count: int, piece: int) -> None:  # CVE-2024-27316
    watched = guard()
    feed(watched, BEGINNING + frame(HEADERS, 0, 1, b"\x82"), piece)
    assert watched.sections.is_open
    with pytest.raises(Http2Error) as caught:
        feed(watched, frame(CONTINUATION, 0, 1, payload) * count, piece)
    assert caught.value.code == ENHANCE_YOUR_CALM


@pytest.mark.parametrize("section", [
    frame(HEADERS, 0, 3, b"x" * 500) + frame(CONTINUATION, 0, 3, b"x" * 2000),
    frame(HEADERS, END_HEADERS, 3, b"x" * 2001),
], ids=["in frames", "in one frame"])  # fmt: skip
def test_a_field_section_that_is_too_large(section: bytes) -> None:  # RFC 6585 §5
    watched = guard()
    before = BEGINNING + frame(HEADERS, END_HEADERS, 1, b"\x82")
    with pytest.raises(FieldSectionTooLarge) as caught:
        watched.look_at(before + section, 0.0, NO_STREAMS)
    assert (caught.value.stream_id, caught.value.status) == (3, 431)
    assert watched.section_at == len(before)


@pytest.mark.parametrize("piece", [1, 7, 13, 1000])
@pytest.mark.parametrize(("said", "seen"), [(2**31 - 1, 2**31 - 2), (2**32 - 1, 2**32 - 2), (255, 255), (0, 0)])
def test_the_first_goaway_of_two(said: int, seen: int, piece: int) -> None:  # RFC 9113 §6.8
    def goaways(stream_id: int) -> bytes:
        return (frame(GOAWAY, 0, 0, stream_id.to_bytes(4, "big") + b"\1\1\1\1debug") + frame(PING, 0, 0, b"\1" * 8)) * 2

    watched = guard()
    data = BEGINNING + goaways(said)
    looked_at = b"".join(watched.look_at(data[at : at + piece], 0.0, NO_STREAMS) for at in range(0, len(data), piece))
    assert looked_at == BEGINNING + goaways(seen)


@pytest.mark.parametrize("wrong", [
    frame(HEADERS, 0) + frame(PING, 0, 0, bytes(8)), frame(HEADERS, 0) + frame(HEADERS, END_HEADERS, 3),
    frame(HEADERS, 0) + frame(RST_STREAM, 0, 1, bytes(4)), frame(HEADERS, 0) + frame(DATA, 0, 1, b"x"),
    frame(HEADERS, END_HEADERS) + frame(CONTINUATION, END_HEADERS),
], ids=["other frame", "other section", "reset", "data", "not begun"])  # fmt: skip
def test_nothing_comes_in_the_middle_of_a_field_section(wrong: bytes) -> None:  # RFC 9113 §6.10
    with pytest.raises(Http2Error) as caught:
        guard().look_at(BEGINNING + wrong, 0.0, NO_STREAMS)
    assert caught.value.code == PROTOCOL_ERROR


def test_a_field_section_in_pieces() -> None:
    watched = guard()
    sections = (frame(HEADERS, 0, 1, b"\x82") + frame(CONTINUATION, 0, 1, b"x") * 60 + frame(CONTINUATION, 4, 1)) * 3
    feed(watched, BEGINNING + sections, 10_000)
    assert not watched.sections.is_open
    assert watched.sections.known == []  # all have begun in the same data
    feed(watched, sections, 10_000)
    assert watched.sections.known == [1, 1, 1]  # whether fields may come there is not the guard's business


@pytest.mark.parametrize("first", [frame(PING, 0, 0, bytes(8)), frame(SETTINGS, ACK, 0)])
def test_3_4_settings_come_first(first: bytes) -> None:
    with pytest.raises(Http2Error) as caught:
        guard().look_at(PREFACE + first, 0.0, NO_STREAMS)
    assert caught.value.code == PROTOCOL_ERROR


def test_6_2_fields_belong_to_a_stream() -> None:
    with pytest.raises(Http2Error) as caught:
        feed(guard(), BEGINNING + frame(HEADERS, END_HEADERS, 0, b"\x82"), 1000)
    assert caught.value.code == PROTOCOL_ERROR


def test_6_4_an_idle_stream_cannot_be_reset() -> None:
    with pytest.raises(Http2Error) as caught:
        guard().look_at(BEGINNING + frame(RST_STREAM, 0, 1, bytes(4)), 0.0, NO_STREAMS)
    assert caught.value.code == PROTOCOL_ERROR


def test_6_5_an_acknowledgement_has_no_settings() -> None:
    with pytest.raises(Http2Error) as caught:
        guard().look_at(BEGINNING + frame(SETTINGS, ACK, 0, bytes(6)), 0.0, NO_STREAMS)
    assert caught.value.code == FRAME_SIZE_ERROR


@pytest.mark.parametrize("piece", [1, 1000])
def test_a_frame_too_large_is_refused_by_its_header(piece: int) -> None:  # RFC 9113 §4.2
    """h2 would wait for all of its 16 MiB."""
    feed(guard(), BEGINNING + frame(DATA, 0, 1, bytes(16384)), piece)
    with pytest.raises(Http2Error) as caught:
        feed(guard(), BEGINNING + frame(DATA, 0, 1, bytes(16385))[:9], piece)
    assert caught.value.code == FRAME_SIZE_ERROR


def test_a_priority_of_the_connection_is_an_error() -> None:  # RFC 9113 §6.3
    with pytest.raises(Http2Error, match="stream 0"):
        feed(guard(), BEGINNING + frame(PRIORITY, 0, 0, bytes(5)), 1000)


def test_fields_before_a_reset_came_on_an_open_stream() -> None:  # RFC 9113 §5.1
    watched = guard()
    feed(watched, BEGINNING + frame(HEADERS, END_HEADERS) + frame(HEADERS, END_HEADERS) + frame(RST_STREAM), 1000)
    assert watched.sections.known == []
    feed(watched, frame(HEADERS, END_HEADERS), 1000)
    assert watched.sections.known == [1]


def test_fields_after_a_reset_in_the_same_data() -> None:  # RFC 9113 §5.1
    watched = guard()
    feed(watched, BEGINNING + frame(HEADERS, END_HEADERS), 1000)
    with pytest.raises(Http2Error) as caught:
        feed(watched, frame(RST_STREAM) + frame(HEADERS, END_HEADERS), 1000)
    assert caught.value.code == STREAM_CLOSED
