"""``has_input`` and ``interrupt``: looking without waiting, and ending a wait without ending anything else."""

from typing import Any, cast

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.stream_pairs import Kind, Pair, TlsPeer, connected, eventually, listening, waits
from trioserve import ClientDisconnected
from trioserve._streams import ByteStream


class Receiver:
    """A task that receives once."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self.received: list[bytes | Exception] = []
        self.cancel_scope = anyio.CancelScope()

    async def __call__(self) -> None:
        with self.cancel_scope:
            try:
                self.received.append(await self.stream.receive_some())
            except ClientDisconnected as exc:
                self.received.append(exc)


async def goes_on(pair: Pair) -> None:
    """The stream is as it was before."""
    assert not pair.stream.lost
    assert not pair.stream.is_disconnected()
    assert pair.stream.receive_nowait() is None
    assert await waits(pair.stream.receive_some)
    assert await waits(pair.stream.wait_disconnected)
    await pair.peer.send(b"question")
    assert await pair.stream.receive_some() == b"question"
    pair.stream.send_nowait(b"answer")
    assert await pair.peer_receives(6) == b"answer"
    await pair.peer.send_eof()
    assert await pair.stream.receive_some() == b""
    await eventually(pair.stream.is_disconnected)


# -- interrupt ---------------------------------------------------------------------------------------------------------


async def test_a_wait_ends_and_nothing_else(kind: Kind) -> None:
    async with connected(kind) as pair:
        for _ in range(3):
            async with anyio.create_task_group() as tasks:
                receiver = Receiver(pair.stream)
                tasks.start_soon(receiver)
                assert await waits(anyio.sleep_forever)
                pair.stream.interrupt()
                pair.stream.interrupt()
            assert receiver.received == [b""]
        await goes_on(pair)


@pytest.mark.parametrize("turns", range(4))
async def test_a_first_wait_may_end_at_any_moment(kind: Kind, turns: int) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as tasks:
        receiver = Receiver(pair.stream)
        tasks.start_soon(receiver)
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        pair.stream.interrupt()  # before the wait has begun that is nothing
        if await waits(anyio.sleep_forever) and not receiver.received:
            pair.stream.interrupt()
        await eventually(lambda: receiver.received)
        assert receiver.received == [b""]
        await goes_on(pair)


async def test_when_nobody_waits_nothing_happens(kind: Kind) -> None:
    async with connected(kind) as pair:
        pair.stream.interrupt()
        assert await waits(pair.stream.receive_some)
        pair.stream.interrupt()
        await goes_on(pair)


async def test_what_has_arrived_is_received(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as tasks:
        receiver = Receiver(pair.stream)
        tasks.start_soon(receiver)
        assert await waits(anyio.sleep_forever)
        await pair.peer.send(b"hello")
        pair.stream.interrupt()
        await eventually(lambda: receiver.received)
        if receiver.received == [b""]:  # it was there first
            assert await pair.stream.receive_some() == b"hello"
        else:
            assert receiver.received == [b"hello"]


async def test_an_end_at_the_same_moment_is_told_again(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as tasks:
        receiver = Receiver(pair.stream)
        tasks.start_soon(receiver)
        assert await waits(anyio.sleep_forever)
        await pair.peer.send_eof()
        pair.stream.interrupt()
        await eventually(lambda: receiver.received)
        assert receiver.received == [b""]
        assert await pair.stream.receive_some() == b""
        await pair.stream.wait_disconnected()
        assert pair.stream.is_disconnected()


@pytest.mark.parametrize("first", ["cancel", "interrupt"])
async def test_a_wait_that_is_cancelled_at_the_same_moment_leaves_nothing_behind(kind: Kind, first: str) -> None:
    async with connected(kind) as pair:
        async with anyio.create_task_group() as tasks:
            receiver = Receiver(pair.stream)
            tasks.start_soon(receiver)
            assert await waits(anyio.sleep_forever)
            if first == "cancel":
                receiver.cancel_scope.cancel()
            pair.stream.interrupt()
            receiver.cancel_scope.cancel()
        await goes_on(pair)


async def test_an_abort_at_the_same_moment_is_told(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as tasks:
        receiver = Receiver(pair.stream)
        tasks.start_soon(receiver)
        assert await waits(anyio.sleep_forever)
        pair.stream.interrupt()
        pair.stream.abort()
        pair.stream.interrupt()
        await eventually(lambda: receiver.received)
        assert receiver.received == [b""] or isinstance(receiver.received[0], ClientDisconnected)
        with pytest.raises(ClientDisconnected):
            await pair.stream.receive_some()


@pytest.mark.parametrize("watcher_first", [False, True])
async def test_who_watches_for_the_end_goes_on_watching(kind: Kind, watcher_first: bool) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as tasks:
        receiver = Receiver(pair.stream)
        left: list[bool] = []

        async def watch() -> None:
            await pair.stream.wait_disconnected()
            left.append(True)

        for task in (watch, receiver) if watcher_first else (receiver, watch):
            tasks.start_soon(task)
            assert await waits(anyio.sleep_forever)
        pair.stream.interrupt()
        await eventually(lambda: receiver.received)
        assert receiver.received == [b""]
        assert await waits(anyio.sleep_forever)
        assert left == []
        await pair.peer.send(b"hello")
        assert await pair.stream.receive_some() == b"hello"
        pair.stream.interrupt()  # nobody receives
        assert await waits(anyio.sleep_forever)
        assert left == []
        await pair.peer.send_eof()
        await eventually(lambda: left)


async def test_a_part_of_a_record_is_kept(kind: Kind) -> None:
    if not kind.tls:
        return
    async with connected(kind) as pair, anyio.create_task_group() as tasks:
        peer = cast("TlsPeer", pair.peer)
        peer.ssl.write(b"hello")
        record = peer.outgoing.read()
        receiver = Receiver(pair.stream)
        tasks.start_soon(receiver)
        await peer.inner.send(record[:10])
        assert await waits(anyio.sleep_forever)
        pair.stream.interrupt()
        await eventually(lambda: receiver.received)
        assert receiver.received == [b""]
        await peer.inner.send(record[10:])
        assert await pair.stream.receive_some() == b"hello"


async def test_who_opens_the_stream_is_not_interrupted(kind: Kind) -> None:
    async with listening(kind) as (listener, connect):
        peer = connect()
        stream = await listener.accept()
        async with anyio.create_task_group() as opening:
            opening.start_soon(stream.open)
            assert await waits(anyio.sleep_forever)
            stream.interrupt()
            assert await waits(anyio.sleep_forever)
            opening.start_soon(peer.open)
        pair = Pair(stream, peer, listener)
        await goes_on(pair)
        stream.abort()
        peer.close()


async def test_a_stream_that_is_lost_has_nobody_to_interrupt(kind: Kind) -> None:
    async with connected(kind) as pair:
        pair.stream.abort()
        pair.stream.interrupt()
        assert pair.stream.lost


# -- has_input ---------------------------------------------------------------------------------------------------------


async def test_there_is_input_from_its_arrival_until_it_is_received(kind: Kind) -> None:
    async with connected(kind) as pair:
        for _ in range(3):
            assert not pair.stream.has_input()
            await pair.peer.send(b"hello")
            await eventually(pair.stream.has_input)
            assert pair.stream.has_input()
            assert await pair.stream.receive_some() == b"hello"
            assert not pair.stream.has_input()
            assert await waits(pair.stream.receive_some)


async def test_input_is_seen_before_the_event_loop_sees_it(kind: Kind) -> None:
    if kind.tls:
        return  # its client cannot send without waiting
    async with connected(kind) as pair:
        assert await waits(pair.stream.receive_some)
        pair.peer.send_first(b"hello")  # both loopback and memory deliver in the sender's call
        assert pair.stream.has_input()
        assert pair.stream.receive_nowait() == b"hello"
        assert not pair.stream.has_input()


async def test_what_came_together_with_the_opening_is_input(kind: Kind) -> None:
    async with listening(kind) as (listener, connect):
        peer: Any = connect()
        stream = await listener.accept()
        if not kind.tls:
            peer.send_first(b"hello")
        async with anyio.create_task_group() as opening:
            opening.start_soon(stream.open)
            opening.start_soon(peer.open)
        if kind.tls:
            await peer.send(b"hello")
        await eventually(stream.has_input)
        assert await stream.receive_some() == b"hello"
        assert not stream.has_input()
        stream.abort()
        peer.close()


async def test_what_was_read_ahead_is_input(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as watching:
        watching.start_soon(pair.stream.wait_disconnected)
        await pair.peer.send(b"hello")
        assert await waits(anyio.sleep_forever)
        assert pair.stream.has_input()
        assert not pair.stream.is_disconnected()
        assert pair.stream.has_input()
        assert await pair.stream.receive_some() == b"hello"
        assert not pair.stream.has_input()
        watching.cancel_scope.cancel()


async def test_the_end_is_no_input(kind: Kind) -> None:
    async with connected(kind) as pair:
        await pair.peer.send(b"last")
        await pair.peer.send_eof()
        await pair.stream.wait_disconnected()
        assert pair.stream.has_input()
        assert await pair.stream.receive_some() == b"last"
        await eventually(pair.stream.is_disconnected)
        assert not pair.stream.has_input()
        assert await pair.stream.receive_some() == b""
        assert not pair.stream.has_input()


@pytest.mark.parametrize("who", ["peer", "we"])
async def test_a_lost_stream_has_none(kind: Kind, who: str) -> None:
    async with connected(kind) as pair:
        await pair.peer.send(b"hello")
        await eventually(pair.stream.has_input)
        if who == "we":
            pair.stream.abort()
        else:
            pair.peer.reset()
            await pair.stream.wait_disconnected()
            pair.stream.send_nowait(b"?")  # which tells us, at the latest
            pair.stream.uncork()
        await eventually(lambda: pair.stream.lost)
        assert not pair.stream.has_input()
