"""Watching for the peer to leave, alone and beside who receives."""

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.stream_pairs import KINDS, MUCH, PROXIED_KINDS, Kind, connected, eventually, waits
from trioserve import ClientDisconnected

# What a peer has sent beyond a bound stays in the kernel; only epoll tells of an end that is behind it.
NOTICING_KINDS = [kind for kind in KINDS + PROXIED_KINDS if not kind.name.endswith("trio-plain")]


async def test_a_connected_peer_is_not_disconnected(kind: Kind) -> None:
    async with connected(kind) as pair:
        assert not pair.stream.is_disconnected()
        await pair.peer.send(b"hello")
        await pair.stream.receive_some()
        assert not pair.stream.is_disconnected()
        assert await waits(pair.stream.wait_disconnected)


async def test_disconnected_when_the_end_has_been_reached(kind: Kind) -> None:
    async with connected(kind) as pair:
        await pair.peer.send(b"last")
        await pair.peer.send_eof()
        await pair.stream.wait_disconnected()
        assert not pair.stream.is_disconnected()  # there is something to receive
        assert await pair.stream.receive_some() == b"last"
        await eventually(pair.stream.is_disconnected)


async def test_disconnected_after_a_reset(kind: Kind) -> None:
    async with connected(kind) as pair:
        pair.peer.reset()
        await pair.stream.wait_disconnected()
        assert pair.stream.is_disconnected()


async def test_watching_a_peer_that_has_left_returns_at_once(kind: Kind) -> None:
    async with connected(kind) as pair:
        await pair.peer.send_eof()
        await pair.stream.receive_some()
        await pair.stream.wait_disconnected()
        await pair.stream.wait_disconnected()


async def test_several_may_watch(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as watching:
        for _ in range(3):
            watching.start_soon(pair.stream.wait_disconnected)
        await anyio.sleep(0.01)
        await pair.peer.send_eof()


async def test_an_abort_ends_watching(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as watching:
        watching.start_soon(pair.stream.wait_disconnected)
        await anyio.sleep(0.01)
        pair.stream.abort()


async def test_watching_keeps_what_arrives(kind: Kind) -> None:
    async with connected(kind) as pair:
        async with anyio.create_task_group() as watching:
            watching.start_soon(pair.stream.wait_disconnected)
            await pair.peer.send(b"first ")
            await anyio.sleep(0.01)
            await pair.peer.send(b"second")
            await anyio.sleep(0.01)
            await pair.peer.send_eof()
        assert await pair.receive_all() == b"first second"


async def test_one_watches_while_another_receives(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as watching:
        watching.start_soon(pair.stream.wait_disconnected)
        for number in range(10):
            await pair.peer.send(b"%d" % number)
            assert await pair.stream.receive_some() == b"%d" % number
        async with anyio.create_task_group() as sending:
            sending.start_soon(pair.peer.send, MUCH)
            received = b""
            while len(received) < len(MUCH):
                received += await pair.stream.receive_some()
            assert received == MUCH
        await pair.peer.send_eof()
        assert await pair.stream.receive_some() == b""


async def test_a_receive_that_waits_beside_a_watcher_gets_the_bytes(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as tasks:
        received: list[bytes] = []

        @tasks.start_soon
        async def receive() -> None:
            received.append(await pair.stream.receive_some())

        await anyio.sleep(0.01)
        tasks.start_soon(pair.stream.wait_disconnected)
        await anyio.sleep(0.01)
        await pair.peer.send(b"hello")
        await eventually(lambda: received)
        await pair.peer.send_eof()
    assert received == [b"hello"]


async def test_a_watcher_keeps_no_more_than_its_bound(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as watching:
        watching.start_soon(pair.stream.wait_disconnected)
        assert await waits(lambda: pair.peer.send(MUCH))  # the peer floods, and is stopped
        watching.cancel_scope.cancel()


async def test_what_a_flooding_peer_sent_can_be_received_beside_the_watcher(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as tasks:
        tasks.start_soon(pair.stream.wait_disconnected)
        tasks.start_soon(pair.peer.send, MUCH)
        assert await waits(anyio.sleep_forever)
        received = b""
        with anyio.fail_after(5):
            while len(received) < len(MUCH):
                received += await pair.stream.receive_some()
        assert received == MUCH
        await pair.peer.send_eof()


async def test_an_abort_ends_watching_a_flood(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as watching:
        watching.start_soon(pair.stream.wait_disconnected)
        assert await waits(lambda: pair.peer.send(MUCH))
        pair.stream.abort()
        with anyio.fail_after(10):
            await pair.stream.wait_disconnected()


noticing_only = pytest.mark.parametrize("kind", NOTICING_KINDS, ids=str, indirect=True)


@noticing_only
@pytest.mark.parametrize("first", ["watching", "flood"])
async def test_a_watcher_notices_that_a_flooding_peer_has_gone(kind: Kind, first: str) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as watching:
        if first == "watching":
            watching.start_soon(pair.stream.wait_disconnected)
        else:
            assert await waits(pair.stream.wait_disconnected)  # a transport begins to read
        assert await waits(lambda: pair.peer.send(MUCH))
        if first == "flood":
            watching.start_soon(pair.stream.wait_disconnected)
            assert await waits(anyio.sleep_forever)
        pair.peer.reset()
    with anyio.fail_after(10):
        await pair.stream.wait_disconnected()
        with pytest.raises(ClientDisconnected):
            while await pair.stream.receive_some():
                pass
    assert pair.stream.lost


@noticing_only
async def test_watching_after_a_flood_has_been_received_goes_on(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as watching:
        watching.start_soon(pair.stream.wait_disconnected)
        for _ in range(3):
            async with anyio.create_task_group() as sending:
                sending.start_soon(pair.peer.send, MUCH)
                assert await waits(anyio.sleep_forever)
                received = b""
                while len(received) < len(MUCH):
                    received += await pair.stream.receive_some()
            assert received == MUCH
            assert await waits(pair.stream.wait_disconnected)
        pair.peer.reset()


async def test_a_cancelled_watcher_loses_nothing(kind: Kind) -> None:
    async with connected(kind) as pair:
        for number in range(5):
            await pair.peer.send(b"%d" % number)
            assert await waits(pair.stream.wait_disconnected)
        await pair.peer.send_eof()
        assert await pair.receive_all() == b"01234"
