"""``send_nowait``, ``drain``, and the ways to close."""

import contextlib
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.stream_pairs import MUCH, Kind, connected, eventually, waits
from trioserve import ClientDisconnected


async def test_bytes_leave(kind: Kind) -> None:
    async with connected(kind) as pair:
        pair.stream.send_nowait(b"hello")
        assert await pair.peer_receives(5) == b"hello"
        assert not pair.stream.congested


async def test_who_takes_files(kind: Kind) -> None:
    async with connected(kind) as pair:
        assert (pair.stream.file_outlet is not None) == kind.takes_files


async def test_what_is_sent_back_to_back_keeps_its_order(kind: Kind) -> None:
    async with connected(kind) as pair:
        for number in range(10):
            pair.stream.send_nowait(b"%d" % number)
        assert await pair.peer_receives(10) == b"0123456789"


async def test_an_answer_in_the_turn_of_its_request_leaves(kind: Kind) -> None:
    async with connected(kind) as pair:
        for number in range(10):
            await pair.peer.send(b"?")
            await pair.stream.receive_some()
            pair.stream.send_nowait(b"%d" % number)
            assert await pair.peer_receives(1) == b"%d" % number


async def test_drain_does_not_wait_when_there_is_nothing_to_wait_for(kind: Kind) -> None:
    async with connected(kind) as pair:
        pair.stream.send_nowait(b"hello")
        with anyio.CancelScope() as cancelled:
            cancelled.cancel()
            await pair.stream.drain()
        assert not cancelled.cancelled_caught
        assert await pair.peer_receives(5) == b"hello"


async def test_a_slow_peer_congests_the_stream(kind: Kind) -> None:
    async with connected(kind) as pair:
        pair.stream.send_nowait(MUCH)
        assert pair.stream.congested
        assert 0 < pair.stream.unsent <= len(MUCH)
        assert await waits(pair.stream.drain)


async def test_drain_returns_when_the_peer_has_read(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as tasks:
        pair.stream.send_nowait(MUCH)

        @tasks.start_soon
        async def drain() -> None:
            await pair.stream.drain()
            assert not pair.stream.congested

        assert await pair.peer_receives(len(MUCH)) == MUCH
    assert pair.stream.unsent == 0


async def test_unsent_shrinks_as_the_peer_reads(kind: Kind) -> None:
    async with connected(kind) as pair:
        pair.stream.send_nowait(MUCH)
        await anyio.sleep(0.01)
        before = pair.stream.unsent
        await pair.peer_receives(len(MUCH) // 2)
        await eventually(lambda: pair.stream.unsent < before)


async def test_what_is_sent_on_a_congested_stream_follows_in_order(kind: Kind) -> None:
    async with connected(kind) as pair:
        for number in range(10):
            pair.stream.send_nowait(b"%d" % number * 100_000)
        received = await pair.peer_receives(1_000_000)
        assert received == b"".join(b"%d" % number * 100_000 for number in range(10))


async def test_what_is_unsent_leaves_without_anybody_waiting(kind: Kind) -> None:
    async with connected(kind) as pair:
        pair.stream.send_nowait(MUCH)
        assert await pair.peer_receives(len(MUCH)) == MUCH
        await eventually(lambda: not pair.stream.congested)


async def test_several_may_drain_and_one_may_be_cancelled(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as draining:
        pair.stream.send_nowait(MUCH)
        draining.start_soon(pair.stream.drain)
        assert await waits(pair.stream.drain)
        draining.start_soon(pair.stream.drain)
        await pair.peer_receives(len(MUCH))


async def test_streaming_with_drain_after_each_piece(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as tasks:

        @tasks.start_soon
        async def stream() -> None:
            for _ in range(20):
                pair.stream.send_nowait(b"x" * 50_000)
                await pair.stream.drain()
            pair.stream.send_eof()

        assert len(await pair.peer_receives_all()) == 1_000_000


# -- a peer that leaves ----------------------------------------------------------------------------------------------


async def test_a_reset_ends_a_waiting_drain(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as draining:
        pair.stream.send_nowait(MUCH)

        @draining.start_soon
        async def drain() -> None:
            with pytest.raises(ClientDisconnected):
                await pair.stream.drain()
            assert pair.stream.lost

        await anyio.sleep(0.01)
        pair.peer.reset()


async def test_sending_to_a_peer_that_has_closed_loses_the_stream_quietly(kind: Kind) -> None:
    async with connected(kind) as pair:
        pair.peer.close()

        def send_and_see() -> bool:
            pair.stream.send_nowait(b"x")
            return pair.stream.lost

        await eventually(send_and_see)
        with pytest.raises(ClientDisconnected):
            await pair.stream.drain()
        assert pair.stream.is_disconnected()


async def test_sending_after_an_abort_does_nothing(kind: Kind) -> None:
    async with connected(kind) as pair:
        pair.stream.abort()
        pair.stream.send_nowait(b"x")
        pair.stream.send_eof()
        assert pair.stream.lost
        with pytest.raises(ClientDisconnected):
            await pair.stream.drain()


async def test_an_abort_ends_a_waiting_drain(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as draining:
        pair.stream.send_nowait(MUCH)

        @draining.start_soon
        async def drain() -> None:
            with pytest.raises(ClientDisconnected):
                await pair.stream.drain()

        await anyio.sleep(0.01)
        pair.stream.abort()
        await eventually(lambda: pair.stream.unsent == 0)


# -- closing ---------------------------------------------------------------------------------------------------------


async def test_our_end_arrives_after_our_bytes(kind: Kind) -> None:
    async with connected(kind) as pair:
        pair.stream.send_nowait(b"last")
        pair.stream.send_eof()
        assert await pair.peer_receives_all() == b"last"


@pytest.mark.parametrize("waited", [False, True], ids=["young", "waited before"])
async def test_our_end_arrives_after_what_was_unsent(kind: Kind, waited: bool) -> None:
    async with connected(kind) as pair:
        if waited:
            assert await waits(pair.stream.receive_some)
        pair.stream.send_nowait(MUCH)
        pair.stream.send_eof()
        assert await pair.peer_receives_all() == MUCH
        await pair.peer.send(b"thanks")
        assert await pair.stream.receive_some() == b"thanks"
        assert not pair.stream.lost


async def test_our_end_arrives_after_what_was_unsent_when_a_wait_began(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as receiving:
        pair.stream.send_nowait(MUCH)
        pair.stream.send_eof()

        @receiving.start_soon
        async def receive() -> None:
            assert await pair.stream.receive_some() == b"thanks"

        assert await pair.peer_receives_all() == MUCH
        await pair.peer.send(b"thanks")


async def test_our_end_on_a_connection_that_was_reset_is_quiet(kind: Kind) -> None:
    async with connected(kind) as pair:
        assert await waits(pair.stream.wait_disconnected)
        pair.peer.reset()
        pair.stream.send_eof()
        pair.stream.send_eof()
        await pair.stream.wait_disconnected()
        with pytest.raises(ClientDisconnected):
            await pair.stream.receive_some()


@pytest.mark.parametrize("waited", [False, True], ids=["young", "waited before"])
async def test_two_may_close(kind: Kind, waited: bool) -> None:
    async with connected(kind) as pair:
        if waited:
            assert await waits(pair.stream.receive_some)
        pair.stream.send_nowait(MUCH)
        with anyio.fail_after(10):
            async with anyio.create_task_group() as closing:
                for _ in range(2):
                    closing.start_soon(pair.stream.aclose)
                assert await pair.peer_receives_all() == MUCH


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("ending", ["abort", "aclose", "close_nowait"])
async def test_closing_while_a_wait_begins(kind: Kind, ending: str, turns: int) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as waiting:
        ended = 0

        async def wait(until: Callable[[], Awaitable[object]]) -> None:
            nonlocal ended
            with contextlib.suppress(ClientDisconnected):
                await until()
            ended += 1

        waiting.start_soon(wait, pair.stream.wait_disconnected)
        waiting.start_soon(wait, pair.stream.receive_some)
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        result = getattr(pair.stream, ending)()
        if ending == "aclose":
            await result
        with anyio.fail_after(10):
            await eventually(lambda: ended == 2)
        assert pair.stream.lost
        with contextlib.suppress(ConnectionError):
            assert await pair.peer_receives_all() == b""


@pytest.mark.parametrize("turns", range(4))
async def test_an_abort_while_a_wait_begins_ends_a_waiting_drain_and_drops_what_is_unsent(
    kind: Kind, turns: int
) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as waiting:
        pair.stream.send_nowait(MUCH)

        @waiting.start_soon
        async def drain() -> None:
            with pytest.raises(ClientDisconnected):
                await pair.stream.drain()

        @waiting.start_soon
        async def receive() -> None:
            with pytest.raises(ClientDisconnected):
                await pair.stream.receive_some()

        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        pair.stream.abort()
        await eventually(lambda: pair.stream.unsent == 0)
        with pytest.raises(ConnectionError):
            await pair.peer_receives_all()


async def test_close_nowait_sends_what_was_handed_over(kind: Kind) -> None:
    async with connected(kind) as pair:
        pair.stream.send_nowait(b"last")
        await eventually(pair.stream.close_nowait)
        assert await pair.peer_receives_all() == b"last"


async def test_close_nowait_refuses_while_bytes_are_unsent(kind: Kind) -> None:
    async with connected(kind) as pair:
        pair.stream.send_nowait(MUCH)
        assert not pair.stream.close_nowait()
        assert not pair.stream.lost
        assert await pair.peer_receives(len(MUCH)) == MUCH
        await eventually(pair.stream.close_nowait)
        assert await pair.peer_receives_all() == b""


async def test_close_nowait_in_the_turn_of_the_request_sends_the_answer(kind: Kind) -> None:
    async with connected(kind) as pair:
        await pair.peer.send(b"?")
        await pair.stream.receive_some()
        pair.stream.send_nowait(b"last")
        await eventually(pair.stream.close_nowait)
        assert await pair.peer_receives_all() == b"last"


async def test_aclose_sends_what_is_unsent(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as closing:
        pair.stream.send_nowait(MUCH)
        closing.start_soon(pair.stream.aclose)
        assert await pair.peer_receives_all() == MUCH


async def test_aclose_waits_for_a_slow_peer(kind: Kind) -> None:
    async with connected(kind) as pair:
        pair.stream.send_nowait(MUCH)
        assert await waits(pair.stream.aclose)


async def test_aclose_of_a_lost_stream_is_quiet(kind: Kind) -> None:
    async with connected(kind) as pair:
        pair.stream.send_nowait(MUCH)
        pair.peer.reset()
        await pair.stream.wait_disconnected()
        await pair.stream.aclose()
        await pair.stream.aclose()


async def test_a_cancelled_aclose_aborts(kind: Kind) -> None:
    async with connected(kind) as pair:
        pair.stream.send_nowait(MUCH)
        assert await waits(pair.stream.aclose)
        assert pair.stream.lost
        with pytest.raises(ConnectionError):
            await pair.peer_receives_all()


async def test_an_abort_is_a_reset_and_drops_what_is_unsent(kind: Kind) -> None:  # RFC 9112 §8
    async with connected(kind) as pair:
        pair.stream.send_nowait(MUCH)
        pair.stream.abort()
        pair.stream.abort()
        with pytest.raises(ConnectionError):
            await pair.peer_receives_all()


async def test_an_abort_after_aclose_changes_nothing(kind: Kind) -> None:
    async with connected(kind) as pair:
        pair.stream.send_nowait(b"last")
        await pair.stream.aclose()
        pair.stream.abort()
        assert await pair.peer_receives_all() == b"last"


async def test_an_abort_after_close_changes_nothing(kind: Kind) -> None:
    async with connected(kind) as pair:
        await pair.peer.send(b"?")
        await pair.stream.receive_some()
        pair.stream.send_nowait(b"last")
        await eventually(pair.stream.close_nowait)
        pair.stream.abort()
        assert await pair.peer_receives_all() == b"last"


@pytest.mark.parametrize("waiting", ["receive_some", "wait_disconnected", "drain", "aclose"])
@pytest.mark.parametrize("ending", ["aclose", "abort"])
async def test_after_a_cancelled_wait_the_stream_can_be_closed(kind: Kind, waiting: str, ending: str) -> None:
    async with connected(kind) as pair:
        if waiting in ("drain", "aclose"):
            pair.stream.send_nowait(MUCH)
        assert await waits(getattr(pair.stream, waiting))
        if ending == "aclose":
            async with anyio.create_task_group() as closing:
                closing.start_soon(pair.stream.aclose)
                pair.peer.close()
        else:
            getattr(pair.stream, ending)()
        assert pair.stream.lost


async def test_a_single_byte_that_waits_congests_the_stream(kind: Kind) -> None:
    async with connected(kind) as pair:
        sent = 0
        while not (pair.stream.unsent and await waits(pair.stream.drain)):  # kernels make room for a while
            assert pair.stream.congested == bool(pair.stream.unsent)
            pair.stream.send_nowait(b"x" * 1000)  # in the end a little more than the network takes
            sent += 1000
            assert pair.stream.congested == bool(pair.stream.unsent)
            await anyio.sleep(0.001)
        await pair.peer_receives(sent)
        await eventually(lambda: not pair.stream.congested)
        assert pair.stream.unsent == 0
