"""What leaves an engine in pieces of any size is put together to whole frames."""

from trioserve._protocol.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    HEADERS,
    NO_ERROR,
    PING,
    goaway_frame,
    ping_frame,
    whole_frames,
)


def frame(kind: int, payload: bytes, flags: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + (1).to_bytes(4, "big") + payload


FIELD_SECTION = frame(HEADERS, b"h" * 40) + frame(CONTINUATION, b"c" * 20) + frame(CONTINUATION, b"e", END_HEADERS)
UNITS = [ping_frame(b"12345678"), FIELD_SECTION, frame(DATA, b""), frame(DATA, b"d" * 300), goaway_frame(1, NO_ERROR)]


class Wire:
    """What an engine has to send."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, size: int) -> bytes:
        taken, self.data = self.data[:size], self.data[size:]
        return taken


def test_a_cut_is_made_between_frames_and_never_in_a_field_section() -> None:
    sent = b"".join(UNITS)
    rests = [b"".join(UNITS[count:]) for count in range(1, len(UNITS) + 1)]
    for amount in range(1, len(sent)):
        wire, taken = Wire(sent), b""
        while data := whole_frames(wire.read, amount):
            taken += data
            assert wire.data in rests
        assert taken == sent


def test_an_engine_that_has_nothing_more_is_not_asked_for_ever() -> None:
    cut = [ping_frame(b"12345678")[:12], b"", b"more"]
    assert whole_frames(lambda size: cut.pop(0)[:size], 12)[3] == PING
    assert cut == [b"more"]
