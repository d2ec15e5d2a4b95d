"""``send_pieces_nowait``: the same as one piece after the other, whoever gathers them."""

import anyio
import pytest

from tests.helpers.stream_pairs import MUCH, Kind, connected, eventually, send_pieces, waits
from trioserve import ClientDisconnected
from trioserve._streams import GATHER_BYTES


def pieces_of(count: int, size: int) -> list[bytes]:
    """Pieces that can be told from each other."""
    return [(b"%d," % number).ljust(size, b".") for number in range(count)]


@pytest.mark.parametrize(
    ("count", "size"),
    [
        pytest.param(3, 5, id="small"),
        pytest.param(10, GATHER_BYTES // 5, id="gathered"),
        pytest.param(1024, 100, id="as many as the kernel takes"),
        pytest.param(1025, 100, id="one more"),
        pytest.param(5000, 7, id="many more"),
        pytest.param(100, 20_000, id="more than the network takes"),
        pytest.param(5000, 500, id="more and many more"),
        pytest.param(1, 2_000_000, id="one"),
    ],
)
async def test_all_arrives_in_order(kind: Kind, count: int, size: int) -> None:
    async with connected(kind) as pair:
        pieces = pieces_of(count, size)
        expected = b"".join(pieces)
        send_pieces(pair.stream, pieces)
        assert await pair.peer_receives(len(expected)) == expected
        await eventually(lambda: not pair.stream.congested)
        assert pair.stream.unsent == 0


@pytest.mark.parametrize("pieces", [[], [b""], [b"", b""]], ids=["none", "empty", "empty ones"])
async def test_nothing_is_nothing(kind: Kind, pieces: list[bytes]) -> None:
    async with connected(kind) as pair:
        send_pieces(pair.stream, pieces)
        assert not pair.stream.congested
        assert not pair.stream.lost
        pair.stream.send_nowait(b"hello")
        assert await pair.peer_receives(5) == b"hello"


async def test_empty_pieces_among_others(kind: Kind) -> None:
    async with connected(kind) as pair:
        send_pieces(pair.stream, [b"", b"a" * GATHER_BYTES, b"", b"b", b""])
        assert await pair.peer_receives(GATHER_BYTES + 1) == b"a" * GATHER_BYTES + b"b"


async def test_a_slow_peer_congests_the_stream(kind: Kind) -> None:
    async with connected(kind) as pair:
        send_pieces(pair.stream, pieces_of(100, 20_000))
        assert pair.stream.congested
        assert 0 < pair.stream.unsent <= 2_010_000  # TLS adds a little
        assert await waits(pair.stream.drain)


async def test_what_is_sent_on_a_congested_stream_follows_in_order(kind: Kind) -> None:
    async with connected(kind) as pair:
        pair.stream.send_nowait(MUCH)
        send_pieces(pair.stream, pieces_of(3, 10))
        send_pieces(pair.stream, pieces_of(50, 2_000))
        pair.stream.send_nowait(b"last")
        expected = MUCH + b"".join(pieces_of(3, 10) + pieces_of(50, 2_000)) + b"last"
        assert await pair.peer_receives(len(expected)) == expected


async def test_streaming_with_drain_after_each(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as tasks:
        expected = b"".join(pieces_of(25, 2_000)) * 20

        @tasks.start_soon
        async def stream() -> None:
            for _ in range(20):
                send_pieces(pair.stream, pieces_of(25, 2_000))
                await pair.stream.drain()
            pair.stream.send_eof()

        assert await pair.peer_receives_all() == expected


async def test_pieces_after_waiting_for_the_peer(kind: Kind) -> None:
    """A stream of asyncio has a transport by then."""
    async with connected(kind) as pair:
        await pair.peer.send(b"?")
        assert await pair.stream.receive_some() == b"?"
        assert await waits(pair.stream.receive_some)
        send_pieces(pair.stream, pieces_of(100, 20_000))
        assert await pair.peer_receives(2_000_000) == b"".join(pieces_of(100, 20_000))


async def test_aclose_sends_the_rest(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as closing:
        send_pieces(pair.stream, pieces_of(100, 20_000))
        closing.start_soon(pair.stream.aclose)
        assert await pair.peer_receives_all() == b"".join(pieces_of(100, 20_000))


async def test_to_a_peer_that_has_closed_they_lose_the_stream_quietly(kind: Kind) -> None:
    async with connected(kind) as pair:
        pair.peer.close()

        def send_and_see() -> bool:
            send_pieces(pair.stream, pieces_of(20, 1_000))
            return pair.stream.lost

        await eventually(send_and_see)
        assert pair.stream.unsent == 0
        with pytest.raises(ClientDisconnected):
            await pair.stream.drain()


async def test_a_reset_ends_the_wait_for_the_rest(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as draining:
        send_pieces(pair.stream, pieces_of(100, 20_000))

        @draining.start_soon
        async def drain() -> None:
            with pytest.raises(ClientDisconnected):
                await pair.stream.drain()
            assert pair.stream.lost

        assert await waits(anyio.sleep_forever)
        pair.peer.reset()


async def test_after_an_abort_nothing_happens(kind: Kind) -> None:
    async with connected(kind) as pair:
        pair.stream.abort()
        send_pieces(pair.stream, pieces_of(20, 1_000))
        assert pair.stream.lost
        with pytest.raises(ClientDisconnected):
            await pair.stream.drain()
