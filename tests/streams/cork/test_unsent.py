"""How much a stream says is unsent while a cork holds it back."""

import pytest

from tests.helpers.corks import ALL_OF_HELD, HELD, corked
from tests.helpers.stream_pairs import Kind, eventually, send_pieces, waits
from trioserve._streams import AT_ONCE_BYTES


async def test_what_is_large_counts_as_unsent(kind: Kind) -> None:
    async with corked(kind) as (pair, _):
        send_pieces(pair.stream, HELD.copy())
        assert pair.stream.unsent >= len(ALL_OF_HELD)
        assert pair.stream.untaken() >= len(ALL_OF_HELD)


async def test_what_is_small_does_not(kind: Kind) -> None:
    async with corked(kind) as (pair, _):
        pair.stream.send_nowait(b"hello")
        assert pair.stream.unsent == 0


class Notes:
    """An observer that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def on_congested(self) -> None:
        self.told.append("congested")

    def on_drained(self) -> None:
        self.told.append("drained")


async def test_what_is_held_does_not_congest_the_stream_before_it_leaves(kind: Kind) -> None:
    async with corked(kind) as (pair, cork):
        notes = pair.stream.observer = Notes()
        send_pieces(pair.stream, HELD.copy())
        assert notes.told == []
        assert not pair.stream.congested
        cork.pull_out()
        assert notes.told == ["congested"]
        await pair.peer_receives(len(ALL_OF_HELD))
        await eventually(lambda: not pair.stream.congested)
        assert notes.told == ["congested", "drained"]


async def test_what_is_uncorked_leaves_now(kind: Kind) -> None:
    async with corked(kind) as (pair, _):
        pair.stream.uncork()
        pair.stream.send_nowait(b"hello")
        pair.stream.uncork()
        assert await pair.peer_receives(5) == b"hello"
        send_pieces(pair.stream, HELD.copy())
        assert not pair.stream.congested
        pair.stream.uncork()
        assert pair.stream.congested
        assert await waits(pair.stream.drain)
        assert await pair.peer_receives(len(ALL_OF_HELD)) == ALL_OF_HELD
        await pair.stream.drain()
        assert pair.stream.unsent == 0


@pytest.mark.parametrize("pieces", [False, True], ids=["bytes", "pieces"])
async def test_what_is_very_large_is_not_held(kind: Kind, pieces: bool) -> None:
    async with corked(kind) as (pair, _):
        if pieces:
            send_pieces(pair.stream, [bytes(AT_ONCE_BYTES // 2)] * 2)
        else:
            pair.stream.send_nowait(bytes(AT_ONCE_BYTES))
        assert pair.stream.congested
        assert await pair.peer_receives(AT_ONCE_BYTES) == bytes(AT_ONCE_BYTES)
