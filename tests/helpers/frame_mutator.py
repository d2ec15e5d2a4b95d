"""A deterministic mutator of HTTP/2: the same seed and corpus give the same bytes on every machine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final

__all__ = ["mutate_frames"]

HEADER_BYTES: Final = 9
PREFACE_BYTES: Final = 24
MOST_FRAMES: Final = 40
LARGEST_BYTES: Final = 2**14     # of a payload (RFC 9113 §4.2)
PING: Final = b"\0\0\x08\x06\0\0\0\0\0the last"
NUMBERS: Final = (0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 100, 2**14, 2**14 + 1, 2**16 - 1, 2**24 - 1,
                  2**31 - 1, 2**31, 2**32 - 1)


@dataclass(frozen=True)
class _Frame:
    """``size`` is what the header says, which may be wrong."""

    kind: int
    flags: int
    stream: int
    payload: bytes
    size: int

    def encoded(self) -> bytes:
        head = self.size.to_bytes(3, "big") + bytes((self.kind, self.flags)) + self.stream.to_bytes(4, "big")
        return head + self.payload


def mutate_frames(random: Random, corpus: Sequence[bytes]) -> bytes:
    """One of the corpus after one to four changes, of frames or of single bytes; all frames are whole.

    The last one is a PING: what is wrong with the others is known when it comes, however soon an engine looks.
    """
    wire = random.choice(corpus)
    preface, frames = wire[:PREFACE_BYTES], _split(wire[PREFACE_BYTES:])
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 4))):
        frames = random.choice(_CHANGES)(random, frames, corpus)[:MOST_FRAMES]
    mutated = b"".join(frame.encoded() for frame in frames)
    if random.random() < 0.1:
        mutated = _change_bytes(random, mutated, at=random.randint(0, len(mutated)))
    return preface + mutated + bytes(_missing(mutated)) + PING


def _missing(data: bytes) -> int:
    """Bytes of the last frame; frames that are too large are refused before they are whole."""
    while data:
        size = int.from_bytes(data[:3].ljust(3, b"\0"), "big")
        if len(data) < HEADER_BYTES + size:
            return min(HEADER_BYTES + size - len(data), LARGEST_BYTES)
        data = data[HEADER_BYTES + size :]
    return 0


def _split(data: bytes) -> list[_Frame]:
    frames = []
    while len(data) >= HEADER_BYTES:
        size = int.from_bytes(data[:3], "big")
        payload = data[HEADER_BYTES : HEADER_BYTES + size]
        frames.append(_Frame(data[3], data[4], int.from_bytes(data[5:9], "big"), payload, size))
        data = data[HEADER_BYTES + size :]
    return frames


def _change_bytes(random: Random, data: bytes, *, at: int) -> bytes:
    change = random.choice(("replace", "flip", "insert", "remove"))
    if change == "replace":
        return data[:at] + bytes((random.randrange(256),)) + data[at + 1 :]
    if change == "flip":
        return data[:at] + bytes(byte ^ 1 << random.randrange(8) for byte in data[at : at + 1]) + data[at + 1 :]
    if change == "insert":
        return data[:at] + random.randbytes(random.choice((1, 1, 4))) + data[at:]
    return data[:at] + data[at + random.choice((1, 1, 4)) :]


_Change = Callable[[Random, list[_Frame], Sequence[bytes]], list[_Frame]]


def _of_one_frame(change: Callable[[Random, _Frame], _Frame]) -> _Change:
    def apply(random: Random, frames: list[_Frame], corpus: Sequence[bytes]) -> list[_Frame]:
        if not frames:
            return frames
        at = random.randrange(len(frames))
        return [*frames[:at], change(random, frames[at]), *frames[at + 1 :]]

    return apply


def _another_kind(random: Random, frame: _Frame) -> _Frame:
    return replace(frame, kind=random.choice((*range(10), 16, 255)))


def _another_flag(random: Random, frame: _Frame) -> _Frame:
    return replace(frame, flags=frame.flags ^ random.choice((1, 4, 8, 0x20, 0x40)))


def _another_stream(random: Random, frame: _Frame) -> _Frame:
    return replace(frame, stream=random.choice((0, 1, 2, 3, 5, 7, 99, 2**31 - 1, 2**31 + 1)))


def _another_size(random: Random, frame: _Frame) -> _Frame:
    """The header lies: the frames that follow are read elsewhere."""
    return replace(frame, size=max(0, min(2**24 - 1, frame.size + random.choice((-9, -1, 1, 4, 9, 2**14)))))


def _another_payload(random: Random, frame: _Frame) -> _Frame:
    payload = frame.payload
    for _ in range(random.choice((1, 1, 2, 3))):
        payload = _change_bytes(random, payload, at=random.randint(0, len(payload)))
    return replace(frame, payload=payload, size=len(payload))


def _a_number_in_the_payload(random: Random, frame: _Frame) -> _Frame:
    number = random.choice(NUMBERS).to_bytes(4, "big")
    at = random.choice((0, 0, 2, max(0, len(frame.payload) - 4)))
    payload = frame.payload[:at] + number + frame.payload[at + 4 :]
    return replace(frame, payload=payload, size=len(payload))


def _cut_payload(random: Random, frame: _Frame) -> _Frame:
    payload = frame.payload[: random.randint(0, len(frame.payload))]
    return replace(frame, payload=payload, size=len(payload))


def _split_in_two(random: Random, frames: list[_Frame], corpus: Sequence[bytes]) -> list[_Frame]:
    """A field section goes on in CONTINUATION, a body in DATA."""
    at = random.randrange(len(frames)) if frames else 0
    result = list(frames)
    for frame in frames[at : at + 1]:
        cut = random.randint(0, len(frame.payload))
        first, second = frame.payload[:cut], frame.payload[cut:]
        result[at : at + 1] = [
            replace(frame, flags=frame.flags & ~(4 if frame.kind == 1 else 1), payload=first, size=len(first)),
            replace(frame, kind=9 if frame.kind == 1 else frame.kind, payload=second, size=len(second)),
        ]
    return result


def _take_out(random: Random, frames: list[_Frame], corpus: Sequence[bytes]) -> list[_Frame]:
    at = random.randint(0, len(frames))
    return frames[:at] + frames[at + 1 :]


def _repeat(random: Random, frames: list[_Frame], corpus: Sequence[bytes]) -> list[_Frame]:
    at = random.randint(0, len(frames))
    return frames[: at + 1] + frames[at : at + 1] * random.choice((1, 1, 12)) + frames[at + 1 :]


def _swap(random: Random, frames: list[_Frame], corpus: Sequence[bytes]) -> list[_Frame]:
    result = list(frames)
    at = random.randint(0, len(frames))
    result[at : at + 2] = result[at : at + 2][::-1]
    return result


def _borrow(random: Random, frames: list[_Frame], corpus: Sequence[bytes]) -> list[_Frame]:
    """Frames of another conversation, whose compressed fields may mean something else here."""
    at, others = random.randint(0, len(frames)), _split(random.choice(corpus)[PREFACE_BYTES:])
    start = random.randint(0, len(others))
    return frames[:at] + others[start : start + random.choice((1, 1, 2))] + frames[at:]


_CHANGES: Final[tuple[_Change, ...]] = (
    *map(_of_one_frame, (_another_kind, _another_flag, _another_stream, _another_size, _another_payload,
                         _another_payload, _a_number_in_the_payload, _cut_payload)),
    _split_in_two, _take_out, _repeat, _swap, _borrow,
)  # fmt: skip
