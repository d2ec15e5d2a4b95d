"""Bodies in chunks: many small ones are read together, and nobody can tell (RFC 9112 §7.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioserve._errors import PeerError
from trioserve._protocol.http1.chunked_body import SMALL_BYTES, WINDOW_BYTES, ChunkedBody

contents = st.lists(
    st.binary(min_size=1, max_size=8) | st.sampled_from([b"\r", b"\n", b"\r\n", b"1\r\na\r\n", b"0\r\n\r\n"])
    | st.integers(1, 2 * SMALL_BYTES).map(lambda size: size * b"x"),
    max_size=60)  # fmt: skip
spellings = st.sampled_from([b"%x", b"%X", b"0%x", b"00000%x", b"%x;a=b", b"%x ;a"])


def read(pieces: list[bytes], limit: int | None = None) -> tuple[bytes, bytes]:
    """The body that comes in ``pieces``, and what is left behind it."""
    body, taken, rest = ChunkedBody(limit), b"", b""
    for piece in pieces:
        rest += piece
        while not body.complete:
            part, rest = body.take(rest)
            taken += part
            if not body.pending:
                break
    assert body.complete and body.taken == len(taken)
    return taken, rest


@given(parts=contents, spelling=st.lists(spellings, min_size=60, max_size=60), step=st.integers(1, 2 * WINDOW_BYTES))
def test_whatever_is_in_them(parts: list[bytes], spelling: list[bytes], step: int) -> None:
    chunks = [
        form % len(part) + b"\r\n" + part + b"\r\n" for part, form in zip(parts, spelling, strict=False)]
    wire = b"".join(chunks) + b"0\r\n\r\nGET"
    taken, rest = read([wire[start : start + step] for start in range(0, len(wire), step)])
    assert taken == b"".join(parts)
    assert rest == b"GET"


SMALL = 1000 * b"3\r\nabc\r\n"


@pytest.mark.parametrize("wrong", [
    b"4\r\nabc\r\n", b"2\r\nabc\r\n", b"3 \r\nabc\r\n", b"+3\r\nabc\r\n", b"0x3\r\nabc\r\n", b"3\nabc\r\n",
    b"3\r\nabc\n", b"\r\n3\r\nabc\r\n", b"3\r\nabc\r\n\r\n", b"1_0\r\n0123456789abcdef\r\n",
])  # fmt: skip
def test_a_malformed_one_among_them_is_found(wrong: bytes) -> None:
    with pytest.raises(PeerError) as raised:
        read([SMALL + wrong + SMALL])
    assert raised.value.status == 400


def test_the_limit_is_exact() -> None:
    wire = SMALL + b"0\r\n\r\n"
    assert read([wire], limit=3000) == (1000 * b"abc", b"")
    with pytest.raises(PeerError) as raised:
        read([wire], limit=2999)
    assert raised.value.status == 413


@pytest.mark.parametrize("line", [b"x: \0", b"x: a\nb", b"x: a\rb"])
def test_the_reason_names_the_trailer_section(line: bytes) -> None:
    with pytest.raises(PeerError, match="control character in the trailer section"):
        ChunkedBody(None).take(b"0\r\n" + line + b"\r\n\r\n")
