"""What a cork holds back leaves in order, and soon."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.corks import ALL_OF_HELD, ALL_OF_LARGE, HELD, LARGE, Clock, cork_of, corked
from tests.helpers.stream_pairs import Kind, Pair, connected, eventually, listening, send_pieces, waits
from trioserve._streams.cork import CORK_SECONDS, Cork


@pytest.mark.parametrize("pieces", [False, True], ids=["bytes", "pieces"])
async def test_it_leaves_when_the_cork_is_pulled_out(kind: Kind, pieces: bool) -> None:
    async with corked(kind) as (pair, cork):
        if pieces:
            send_pieces(pair.stream, [b"he", b"ll", b"o"])
        else:
            pair.stream.send_nowait(b"hello")
        assert await waits(pair.peer.receive)
        cork.pull_out()
        assert await pair.peer_receives(5) == b"hello"
        pair.stream.send_nowait(b"at once")
        assert await pair.peer_receives(7) == b"at once"


async def test_what_one_stream_sends_keeps_its_order(kind: Kind) -> None:
    async with corked(kind) as (pair, cork), anyio.create_task_group() as receiving:
        received: list[bytes] = []
        expected = b"small" + ALL_OF_LARGE + b"small again" + b"part" * 3 + b"last"

        @receiving.start_soon
        async def receive() -> None:
            received.append(await pair.peer_receives(len(expected)))

        pair.stream.send_nowait(b"small")
        send_pieces(pair.stream, LARGE.copy())
        pair.stream.send_nowait(b"small again")
        send_pieces(pair.stream, [b"part"] * 3)
        pair.stream.send_nowait(b"last")
        cork.pull_out()
    assert received == [expected]


async def test_large_pieces_that_were_held_follow_as_the_peer_reads(kind: Kind) -> None:
    async with corked(kind) as (pair, cork):
        send_pieces(pair.stream, HELD.copy())
        cork.pull_out()
        assert pair.stream.congested
        assert await pair.peer_receives(len(ALL_OF_HELD)) == ALL_OF_HELD
        await eventually(lambda: not pair.stream.unsent)


async def test_what_is_sent_on_a_congested_stream_follows(kind: Kind) -> None:
    async with corked(kind) as (pair, cork):
        send_pieces(pair.stream, HELD.copy())
        cork.pull_out()
        cork.push_in()
        pair.stream.send_nowait(b"more")
        send_pieces(pair.stream, [b"and ", b"more"])
        cork.pull_out()
        assert await pair.peer_receives(len(ALL_OF_HELD) + 12) == ALL_OF_HELD + b"moreand more"


async def test_two_streams_of_one_server_leave_together(kind: Kind) -> None:
    async with two_connections(kind) as (cork, first, second):
        first.stream.send_nowait(b"first")
        second.stream.send_nowait(b"second")
        assert await waits(first.peer.receive)
        assert await waits(second.peer.receive)
        cork.pull_out()
        assert await first.peer_receives(5) == b"first"
        assert await second.peer_receives(6) == b"second"


async def test_nothing_is_held_for_longer_than_a_moment(kind: Kind, clock: Clock) -> None:
    async with two_connections(kind) as (cork, first, second):
        first.stream.send_nowait(b"first")
        clock.now += CORK_SECONDS / 2
        second.stream.send_nowait(b"second")
        assert await waits(first.peer.receive)
        clock.now += CORK_SECONDS
        second.stream.send_nowait(b" and more")  # who sends more than once sends at once
        assert await waits(first.peer.receive)
        assert await second.peer_receives(15) == b"second and more"
        second.stream.send_nowait(b"later")
        assert await first.peer_receives(5) == b"first"
        assert await waits(second.peer.receive)
        cork.pull_out()
        assert await second.peer_receives(5) == b"later"


class Held:
    """Has something to send at the end of the turn."""

    def __init__(self) -> None:
        self.turn_is_over = anyio.Event()

    def uncork(self) -> None:
        self.turn_is_over.set()


async def test_a_turn_that_nobody_waits_for(kind: Kind) -> None:
    async with connected(kind) as pair:
        cork = cork_of(pair.stream)
        await eventually(lambda: not cork.is_in)
        held = Held()
        assert not pair.stream.defers(held, expects_others=False)
        for _ in range(3):
            assert pair.stream.defers(held, expects_others=True)
            assert pair.stream.defers(Held(), expects_others=False)  # in the same turn
            assert not held.turn_is_over.is_set()
            await held.turn_is_over.wait()
            assert not cork.is_in
            held = Held()


@asynccontextmanager
async def two_connections(kind: Kind) -> AsyncIterator[tuple[Cork, Pair, Pair]]:
    """Two connections to one server, whose cork is in."""
    async with listening(kind) as (listener, connect):
        pairs = []
        try:
            for _ in range(2):
                peer = connect()
                stream = await listener.accept()
                pairs.append(Pair(stream, peer, listener))
                async with anyio.create_task_group() as opening:
                    opening.start_soon(stream.open)
                    opening.start_soon(peer.open)
            cork = cork_of(pairs[0].stream)
            assert cork_of(pairs[1].stream) is cork
            await eventually(lambda: not cork.is_in)
            cork.push_in()
            yield cork, pairs[0], pairs[1]
            cork.pull_out()
        finally:
            for pair in pairs:
                pair.stream.abort()
                pair.peer.close()
