"""Mutations of a seed corpus: the engines agree, pieces say what the whole says, nothing but PeerError is raised.

Deterministic. ``TRIOSERVE_FUZZ_ROUNDS=500000 python -m pytest tests/fuzz`` goes on for longer, and
``TRIOSERVE_FUZZ_SEED=7`` elsewhere. What it finds belongs into ``corpus/``.
"""

import os
from pathlib import Path
from random import Random
from typing import Final

import pytest

from tests.helpers.wire_mutator import mutate
from tests.helpers.wire_properties import SMALL_LIMITS, assert_wire_properties
from trioserve._protocol import Http1Limits

pytestmark = pytest.mark.no_cover  # what they reach other tests reach, and tracing would triple their time

CORPUS: Final = Path(__file__).parent / "corpus"
SEEDS: Final = sorted(CORPUS.rglob("*.http"))
ROUNDS: Final = int(os.environ.get("TRIOSERVE_FUZZ_ROUNDS", "10000"))
SEED: Final = int(os.environ.get("TRIOSERVE_FUZZ_SEED", "0"))
SHARES: Final = 8  # tests that divide the rounds, so that every core has some


@pytest.mark.parametrize("seed", SEEDS, ids=lambda path: f"{path.parent.name} {path.stem}")
def test_each_seed_is_judged_as_its_folder_says(seed: Path) -> None:
    wire = seed.read_bytes()
    for cut in range(len(wire)):
        reading = assert_wire_properties(wire, [cut])
        assert (reading.refused is None) is (seed.parent.name == "fine"), reading.reason


@pytest.mark.timeout(60 + ROUNDS / 50)
@pytest.mark.parametrize("share", range(SHARES))
def test_mutations(share: int) -> None:
    random = Random(f"{SEED}, {share}")
    corpus = [path.read_bytes() for path in SEEDS]
    accepted = refused = 0
    for _ in range(ROUNDS // SHARES):
        wire = mutate(random, corpus)
        cuts = [random.randint(0, len(wire)) for _ in range(random.randint(1, 4))]
        reading = assert_wire_properties(wire, cuts, random.choice((Http1Limits(), SMALL_LIMITS)))
        accepted += reading.refused is None
        refused += reading.refused is not None
    assert min(accepted, refused) >= ROUNDS // SHARES // 10  # both sides of the border are visited
