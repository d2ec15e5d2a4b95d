"""Mutations of sequences of frames: we and wsproto alone agree, pieces say what the whole says, nothing is raised.

Deterministic; ``TRIOSERVE_FUZZ_ROUNDS`` and ``TRIOSERVE_FUZZ_SEED`` as for the other fuzzers.
"""

import os
import zlib
from random import Random
from typing import Final

import pytest

from tests.helpers.ws_frames import BINARY, CONTINUATION, PING, PONG, TEXT, close_frame, frame
from tests.helpers.ws_reference import TERMS, assert_same, is_failure

pytestmark = pytest.mark.no_cover  # what they reach other tests reach, and tracing would triple their time

ROUNDS: Final = int(os.environ.get("TRIOSERVE_FUZZ_ROUNDS", "10000")) // 2  # the reference is as slow as they come
SEED: Final = int(os.environ.get("TRIOSERVE_FUZZ_SEED", "0"))
SHARES: Final = 8  # tests that divide the rounds, so that every core has some


def packed(data: bytes) -> bytes:
    return zlib.compress(data)[2:-4]


SEEDS: Final = [
    frame(TEXT, "hellö €".encode()) + frame(BINARY, bytes(range(64))),
    frame(TEXT, b"one ", fin=False) + frame(PING, b"p") + frame(CONTINUATION, b"two"),
    frame(BINARY, b"x" * 126) + frame(TEXT, b"y" * 125),
    frame(PING) + frame(PONG, b"q") + close_frame(1000, b"bye") + frame(TEXT, b"late"),
    frame(TEXT, packed(b"hello hello hello"), rsv=4) + frame(TEXT, b"plain"),
    frame(TEXT, packed(b"a" * 300)[:4], rsv=4, fin=False) + frame(PING) + frame(CONTINUATION, packed(b"a" * 300)[4:]),
]


def mutated(random: Random) -> bytes:
    """Some seeds after one another, with a few bytes or bits changed, dropped, repeated or put in."""
    wire = bytearray(b"".join(random.choices(SEEDS, k=random.randint(1, 3))))
    for _ in range(random.choice((0, 1, 1, 2, 4))):
        at = random.randrange(len(wire) + 1)
        match random.randrange(5):
            case 0 if at < len(wire):
                wire[at] ^= 1 << random.randrange(8)
            case 1:
                del wire[at : at + random.randint(1, 6)]
            case 2:
                wire[at:at] = wire[at : at + random.randint(1, 20)]
            case 3:
                wire[at:at] = random.choice(SEEDS)
            case _:
                wire[at:at] = random.randbytes(random.randint(1, 4))
    return bytes(wire)


@pytest.mark.timeout(60 + ROUNDS / 50)
@pytest.mark.parametrize("share", range(SHARES))
def test_mutations(share: int) -> None:
    random = Random(f"websocket, {SEED}, {share}")
    fine = failed = 0
    for _ in range(ROUNDS // SHARES):
        wire = mutated(random)
        cuts = [random.randint(0, len(wire)) for _ in range(random.randint(1, 4))]
        events = assert_same(wire, cuts, random.choice((None, TERMS)))
        bad = any(map(is_failure, events))
        fine, failed = fine + (not bad), failed + bad
    assert min(fine, failed) >= ROUNDS // SHARES // 10  # both sides of the border are visited
