"""A deterministic mutator: the same seed and corpus give the same bytes on every machine."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

__all__ = ["mutate"]

_MOST_BYTES: Final = 2000

# What parsers trip over: line ends, white space, signs, numbers at the edge, words that frame a message.
_DICTIONARY: Final = [
    b"\r", b"\n", b"\r\n", b"\n\r", b"\r\r\n", b"\r\n\r\n", b"\n\n", b"\r\n ", b"\r\n\t", b" ", b"\t", b"\0", b"\x0b",
    b"\x0c", b"\x1f", b"\x7f", b"\x80", b"\xa0", b"\xff", b":", b" :", b": ", b";", b",", b", ", b'"', b"\\", b"/",
    b"//", b"?", b"#", b"*", b"@", b"%", b"%0", b"%0d%0a", b"[", b"]", b"(", b"0", b"1", b"5", b"00", b"-1", b"+1",
    b"0x1", b"1e1", b"ffffffffffffffff", b"10000000000000000", b"999999999999999999", b"9223372036854775808",
    b"18446744073709551616", b"HTTP/1.0", b"HTTP/1.1", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.10", b"GET ",
    b"POST ", b"CONNECT ", b"OPTIONS ", b"PRI * ", b"http://", b"http://b", b"https://b/c?d", b"Host: b\r\n",
    b"Host:\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Content-Length: 5, 5\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n", b"Transfer-Encoding:\r\n chunked\r\n",
    b"Connection: close\r\n", b"Connection: Upgrade\r\nUpgrade: x\r\n", b"Expect: 100-continue\r\n",
    b"TE: trailers\r\n", b"Trailer: X\r\n", b"X:\r\n", b"chunked", b"gzip, ", b"0\r\n\r\n", b"5\r\nhello\r\n",
    b";a=b", b";\n", b"\r\nX: y\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
]  # fmt: skip


def mutate(random: Random, corpus: Sequence[bytes]) -> bytes:
    """One of the corpus after one to six changes."""
    wire = random.choice(corpus)
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 4, 6))):
        wire = random.choice(_CHANGES)(random, wire, corpus)
    return wire[:_MOST_BYTES]


def _span(random: Random, wire: bytes) -> tuple[int, int]:
    start = random.randint(0, len(wire))
    return start, min(len(wire), start + random.choice((1, 1, 2, 4, 8, 30)))


def _change_byte(random: Random, wire: bytes, corpus: Sequence[bytes]) -> bytes:
    at = random.randint(0, len(wire))
    return wire[:at] + bytes([random.randrange(256)]) + wire[at + 1 :]


def _flip_bit(random: Random, wire: bytes, corpus: Sequence[bytes]) -> bytes:
    if not wire:
        return wire
    at = random.randrange(len(wire))
    return wire[:at] + bytes([wire[at] ^ 1 << random.randrange(8)]) + wire[at + 1 :]


def _put_in(random: Random, wire: bytes, corpus: Sequence[bytes]) -> bytes:
    at = random.randint(0, len(wire))
    return wire[:at] + random.choice(_DICTIONARY) + wire[at:]


def _put_in_place_of(random: Random, wire: bytes, corpus: Sequence[bytes]) -> bytes:
    start, end = _span(random, wire)
    return wire[:start] + random.choice(_DICTIONARY) + wire[end:]


def _take_out(random: Random, wire: bytes, corpus: Sequence[bytes]) -> bytes:
    start, end = _span(random, wire)
    return wire[:start] + wire[end:]


def _repeat(random: Random, wire: bytes, corpus: Sequence[bytes]) -> bytes:
    start, end = _span(random, wire)
    return wire[:end] + wire[start:end] * random.choice((1, 1, 2, 20)) + wire[end:]


def _move_a_line(random: Random, wire: bytes, corpus: Sequence[bytes]) -> bytes:
    lines = wire.split(b"\r\n")
    line = lines.pop(random.randrange(len(lines)))
    lines.insert(random.randint(0, len(lines)), line)
    return b"\r\n".join(lines)


def _repeat_a_line(random: Random, wire: bytes, corpus: Sequence[bytes]) -> bytes:
    lines = wire.split(b"\r\n")
    lines.insert(random.randint(0, len(lines)), random.choice(lines))
    return b"\r\n".join(lines)


def _borrow_a_line(random: Random, wire: bytes, corpus: Sequence[bytes]) -> bytes:
    lines = wire.split(b"\r\n")
    lines.insert(random.randint(0, len(lines)), random.choice(random.choice(corpus).split(b"\r\n")))
    return b"\r\n".join(lines)


def _change_a_line_end(random: Random, wire: bytes, corpus: Sequence[bytes]) -> bytes:
    parts = wire.split(b"\r\n")
    at = random.randrange(len(parts))
    end = random.choice((b"\n", b"\r", b"", b"\r\r\n", b"\n\r", b" \r\n", b"\r\n "))
    return b"\r\n".join(parts[:at]) + (end if at else b"") + b"\r\n".join(parts[at:])


def _follow_with(random: Random, wire: bytes, corpus: Sequence[bytes]) -> bytes:
    return wire + random.choice(corpus)


def _swap_case(random: Random, wire: bytes, corpus: Sequence[bytes]) -> bytes:
    start, end = _span(random, wire)
    return wire[:start] + wire[start:end].swapcase() + wire[end:]


_Change = Callable[[Random, bytes, Sequence[bytes]], bytes]
_CHANGES: Final[tuple[_Change, ...]] = (
    _change_byte, _flip_bit, _put_in, _put_in, _put_in_place_of, _take_out, _repeat, _move_a_line, _repeat_a_line,
    _borrow_a_line, _change_a_line_end, _follow_with, _swap_case,
)  # fmt: skip
