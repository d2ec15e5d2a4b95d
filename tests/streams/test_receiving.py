"""``receive_some``, ``receive_nowait`` and the ways a peer can end."""

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.stream_pairs import MUCH, Kind, connected, eventually, waits
from trioserve import ClientDisconnected


async def test_bytes_arrive(kind: Kind) -> None:
    async with connected(kind) as pair:
        await pair.peer.send(b"hello")
        assert await pair.stream.receive_some() == b"hello"


async def test_it_waits_for_bytes(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as sending:
        received: list[bytes] = []

        @sending.start_soon
        async def receive() -> None:
            received.append(await pair.stream.receive_some())

        assert await waits(anyio.sleep_forever)
        assert received == []
        await pair.peer.send(b"late")
        await eventually(lambda: received)
        assert received == [b"late"]


async def test_much_arrives_whole_and_in_order(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as sending:

        @sending.start_soon
        async def send() -> None:
            await pair.peer.send(MUCH)
            await pair.peer.send_eof()

        assert await pair.receive_all() == MUCH


async def test_a_slow_reader_stops_the_peer(kind: Kind) -> None:
    async with connected(kind) as pair:
        assert await waits(lambda: pair.peer.send(MUCH * 4))


async def test_a_slow_reader_gets_everything(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as sending:

        @sending.start_soon
        async def send() -> None:
            await pair.peer.send(MUCH)
            await pair.peer.send_eof()

        received = b""
        while data := await pair.stream.receive_some(10_000):
            received += data
            await anyio.lowlevel.checkpoint()
        assert received == MUCH


async def test_nowait_takes_what_is_there(kind: Kind) -> None:
    async with connected(kind) as pair:
        assert pair.stream.receive_nowait() is None
        await pair.peer.send(b"hello")
        received: list[bytes] = []

        def has_arrived() -> bool:
            received.extend([data] if (data := pair.stream.receive_nowait()) else [])
            return bool(received)

        await eventually(has_arrived)
        assert received == [b"hello"]
        assert pair.stream.receive_nowait() is None


async def test_nowait_and_waiting_take_turns(kind: Kind) -> None:
    async with connected(kind) as pair:
        for number in range(10):
            await pair.peer.send(b"%d" % number)
            assert await pair.stream.receive_some() == b"%d" % number
            assert pair.stream.receive_nowait() is None


async def test_the_end_is_an_empty_piece_again_and_again(kind: Kind) -> None:
    async with connected(kind) as pair:
        await pair.peer.send(b"last")
        await pair.peer.send_eof()
        assert await pair.stream.receive_some() == b"last"
        for _ in range(3):
            assert await pair.stream.receive_some() == b""
            assert pair.stream.receive_nowait() == b""
        assert not pair.stream.lost


async def test_sending_goes_on_after_the_peers_end(kind: Kind) -> None:
    async with connected(kind) as pair:
        await pair.peer.send_eof()
        assert await pair.stream.receive_some() == b""
        pair.stream.send_nowait(b"answer")
        await pair.stream.drain()
        assert await pair.peer_receives(6) == b"answer"


async def test_receiving_goes_on_after_our_own_end(kind: Kind) -> None:
    async with connected(kind) as pair:
        pair.stream.send_eof()
        assert await pair.peer.receive() == b""
        await pair.peer.send(b"more")
        assert await pair.stream.receive_some() == b"more"


async def test_a_reset_ends_a_waiting_receive(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as receiving:

        @receiving.start_soon
        async def receive() -> None:
            with pytest.raises(ClientDisconnected):
                await pair.stream.receive_some()
            assert pair.stream.lost

        await anyio.sleep(0.01)
        pair.peer.reset()


async def test_after_a_reset_receiving_raises(kind: Kind) -> None:
    async with connected(kind) as pair:
        pair.peer.reset()
        for _ in range(3):
            with pytest.raises(ClientDisconnected):
                await pair.stream.receive_some()
        with pytest.raises(ClientDisconnected):
            pair.stream.receive_nowait()
        assert pair.stream.lost


async def test_after_an_abort_nobody_waits_for_an_empty_stream(kind: Kind) -> None:
    async with connected(kind) as pair:
        assert pair.stream.receive_nowait() is None
        pair.stream.abort()
        await pair.stream.wait_disconnected()
        with pytest.raises(ClientDisconnected):
            await pair.stream.receive_some()


async def test_after_an_abort_receiving_raises(kind: Kind) -> None:
    async with connected(kind) as pair:
        pair.stream.abort()
        with pytest.raises(ClientDisconnected):
            await pair.stream.receive_some()
        with pytest.raises(ClientDisconnected):
            pair.stream.receive_nowait()


async def test_an_abort_ends_a_waiting_receive(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as receiving:

        @receiving.start_soon
        async def receive() -> None:
            with pytest.raises(ClientDisconnected):
                await pair.stream.receive_some()

        await anyio.sleep(0.01)
        pair.stream.abort()


async def test_a_cancelled_receive_loses_nothing(kind: Kind) -> None:
    async with connected(kind) as pair:
        for number in range(5):
            assert await waits(pair.stream.receive_some)
            await pair.peer.send(b"%d" % number)
            assert await pair.stream.receive_some() == b"%d" % number


@pytest.mark.parametrize("turns", range(5))
@pytest.mark.parametrize("waiting", ["receive_some", "wait_disconnected"])
async def test_a_first_wait_that_is_cancelled_leaves_the_connection_alone(kind: Kind, waiting: str, turns: int) -> None:
    async with connected(kind) as pair:
        async with anyio.create_task_group() as waiters:
            waiters.start_soon(getattr(pair.stream, waiting))
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            waiters.cancel_scope.cancel()
        assert not pair.stream.lost
        pair.stream.send_nowait(b"answer")
        assert await pair.peer_receives(6) == b"answer"
        await pair.peer.send(b"thanks")
        assert await pair.stream.receive_some() == b"thanks"


@pytest.mark.parametrize("turns", range(5))
async def test_who_waits_beside_one_that_is_cancelled_goes_on_waiting(kind: Kind, turns: int) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as waiters:
        watch = anyio.CancelScope()
        received: list[bytes] = []

        @waiters.start_soon
        async def watch_for_the_end() -> None:
            with watch:
                await pair.stream.wait_disconnected()

        @waiters.start_soon
        async def receive() -> None:
            received.append(await pair.stream.receive_some())

        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        watch.cancel()
        await pair.peer.send(b"hello")
        await eventually(lambda: received)
        assert received == [b"hello"]


async def test_a_second_receiver_is_refused_or_served_but_never_forgotten(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as receiving:
        outcomes: list[bytes | Exception] = []

        async def receive() -> None:
            try:
                outcomes.append(await pair.stream.receive_some())
            except Exception as exc:
                outcomes.append(exc)

        receiving.start_soon(receive)
        await anyio.sleep(0.01)
        receiving.start_soon(receive)
        await anyio.sleep(0.01)
        await pair.peer.send(b"x")
        await eventually(lambda: b"x" in outcomes)
        await pair.peer.send_eof()
        with anyio.fail_after(5):
            await eventually(lambda: len(outcomes) == 2)


async def test_after_a_cancelled_one_the_next_may_receive(kind: Kind) -> None:
    async with connected(kind) as pair:
        with anyio.move_on_after(0.01):
            await pair.stream.receive_some()
        await pair.peer.send(b"later")
        assert await pair.stream.receive_some() == b"later"
