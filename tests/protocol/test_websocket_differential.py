"""The fast path, the frame boundaries and wsproto together say what wsproto alone says."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.helpers.ws_frames import BINARY, CLOSE, CONTINUATION, PING, TEXT, frame
from tests.helpers.ws_reference import TERMS, assert_same, wires

pytestmark = pytest.mark.no_cover  # what they reach other tests reach, and tracing would double their time

cuts = st.lists(st.integers(0, 1 << 16), max_size=8)


@given(wires, cuts)
@example(frame(TEXT, b"\xff"), [])
@example(frame(TEXT, b"a", fin=False) + frame(PING, b"p") + frame(TEXT, b"b"), [1, 2, 3])
@example(frame(BINARY, b"a") * 3 + bytes((0x83, 0xFF)), [9, 15])
@example(frame(CLOSE, b"\x03\xe8") + frame(TEXT, b"late"), [3])
def test_frames_in_pieces(wire: bytes, cuts: list[int]) -> None:
    assert_same(wire, cuts)


@given(wires)
def test_frames_cut_everywhere(wire: bytes) -> None:
    assert_same(wire, list(range(len(wire))))
    for cut in range(len(wire)):
        assert_same(wire, [cut])


@given(wires, cuts)
@example(frame(TEXT, b"\0", rsv=4) + frame(TEXT, b"a") + frame(CONTINUATION), [2, 8])
def test_with_compression_agreed_on(wire: bytes, cuts: list[int]) -> None:
    assert_same(wire, cuts, TERMS)


@given(st.lists(st.tuples(st.text(max_size=300), st.booleans(), st.integers(1, 50)), max_size=6), cuts)
def test_fine_messages_in_fragments(messages: list[tuple[str, bool, int]], cuts: list[int]) -> None:
    wire, expected = b"", []
    for text, binary, size in messages:
        data = text.encode()
        parts = [data[start : start + size] for start in range(0, len(data), size)] or [b""]
        for index, part in enumerate(parts):
            opcode = CONTINUATION if index else BINARY if binary else TEXT
            wire += frame(opcode, part, fin=index == len(parts) - 1) + (frame(PING) if index % 3 == 1 else b"")
        expected.append(data if binary else text)
    read = assert_same(wire, cuts)
    assert [event for event in read if isinstance(event, str | bytes)] == expected
