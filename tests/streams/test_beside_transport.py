"""On asyncio ``receive_nowait`` reads the socket itself, while the transport may have read some of it already."""

import asyncio
import socket
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.corks import is_closed, socket_of
from tests.helpers.stream_pairs import (
    MUCH,
    PLAIN_KINDS,
    Kind,
    Pair,
    connect_to,
    connected,
    eventually,
    fill_kernel,
    skip_if_missing,
    waits,
)
from trioserve import ClientDisconnected
from trioserve._streams.on_asyncio.stream import PAUSE_BYTES, SocketStream

if TYPE_CHECKING:
    from trioserve._streams.on_asyncio.cork import LoopCork


@pytest.fixture(params=[kind for kind in PLAIN_KINDS if kind.name in ("asyncio", "uvloop")], ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    skip_if_missing(kind)
    return kind


async def with_transport(pair: Pair) -> SocketStream:
    """The stream, which has a transport because it had to wait."""
    stream = cast("SocketStream", pair.stream)
    assert await waits(stream.receive_some)
    assert stream._transport is not None
    return stream


async def has_received(stream: SocketStream) -> None:
    """The transport has read something that nobody has asked for."""
    await eventually(lambda: stream._received)


async def test_what_the_transport_has_read_comes_first(kind: Kind) -> None:
    async with connected(kind) as pair:
        stream = await with_transport(pair)
        for number in range(5):
            await pair.peer.send(b"read by the transport")
            await has_received(stream)
            peer: Any = pair.peer
            peer.send_first(b"%d read from the socket" % number)
            assert stream.receive_nowait() == b"read by the transport"
            received: list[bytes] = []

            def take(received: list[bytes] = received) -> bool:
                received.extend([data] if (data := stream.receive_nowait()) else [])
                return bool(received)

            await eventually(take)
            assert received == [b"%d read from the socket" % number]
            assert stream.receive_nowait() is None


async def test_the_socket_is_read_before_the_event_loop_has_seen_it(kind: Kind) -> None:
    async with connected(kind) as pair:
        stream = await with_transport(pair)
        for _ in range(3):
            peer: Any = pair.peer
            peer.send_first(b"just sent")
            assert stream.receive_nowait() == b"just sent"  # loopback delivers in the sender's call
            assert await waits(stream.receive_some)


async def test_nowait_and_waiting_keep_the_order(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as sending:
        stream = await with_transport(pair)

        @sending.start_soon
        async def send() -> None:
            await pair.peer.send(MUCH)
            await pair.peer.send_eof()

        received, turn = b"", 0
        while True:
            turn += 1
            data = stream.receive_nowait(10_000) if turn % 3 else await stream.receive_some(10_000)
            if data == b"":
                break
            if data is None:
                await anyio.lowlevel.checkpoint()
            else:
                received += data
        assert received == MUCH


async def test_what_was_read_ahead_is_taken_before_the_socket_and_reading_goes_on(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as sending:
        stream = await with_transport(pair)
        sending.start_soon(pair.peer.send, MUCH)
        await eventually(lambda: stream._paused)
        assert len(stream._received) > PAUSE_BYTES
        received = b""
        while len(received) < len(MUCH):
            received += stream.receive_nowait() or await stream.receive_some()
        assert received == MUCH


@pytest.mark.parametrize("seen", [False, True], ids=["in the socket", "seen by the transport"])
async def test_the_end(kind: Kind, seen: bool) -> None:
    async with connected(kind) as pair:
        stream = await with_transport(pair)
        await pair.peer.send(b"last")
        await pair.peer.send_eof()
        if seen:
            await eventually(lambda: stream._ended)
        assert stream.receive_nowait() == b"last"
        for _ in range(3):
            assert stream.receive_nowait() == b""
            assert await stream.receive_some() == b""
        assert stream.is_disconnected()
        await stream.wait_disconnected()
        assert not stream.lost
        stream.send_nowait(b"answer")
        assert await pair.peer_receives(6) == b"answer"


async def test_a_reset_that_the_transport_has_not_seen(kind: Kind) -> None:
    async with connected(kind) as pair:
        stream = await with_transport(pair)
        pair.peer.reset()
        for _ in range(2):
            with pytest.raises(ClientDisconnected):
                stream.receive_nowait()
        assert stream.lost
        with pytest.raises(ClientDisconnected):
            await stream.receive_some()
        await stream.wait_disconnected()


@pytest.mark.parametrize("turns", range(4))
async def test_a_transport_that_keeps_a_little_congests_the_stream(kind: Kind, turns: int) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as waiting:
        stream = cast("SocketStream", pair.stream)
        waiting.start_soon(stream.receive_some)
        for _ in range(turns):
            await asyncio.sleep(0)
        await eventually(lambda: stream._transport)
        fill_kernel(socket_of(stream))
        stream.send_nowait(b"little")
        assert stream.unsent
        assert stream.congested
        waiting.cancel_scope.cancel()


# -- cancellation as asyncio does it: once, through every shield -----------------------------------------------------


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("waiting", ["receive_some", "wait_disconnected"])
async def test_a_first_wait_that_asyncio_cancels_leaves_the_connection_alone(
    kind: Kind, waiting: str, turns: int
) -> None:
    async with connected(kind) as pair:
        task = asyncio.ensure_future(getattr(pair.stream, waiting)())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        pair.stream.send_nowait(b"answer")
        assert await pair.peer_receives(6) == b"answer"
        await pair.peer.send(b"thanks")
        assert await pair.stream.receive_some() == b"thanks"


# -- the end of what the transport does not read -----------------------------------------------------------------------


async def flooded(pair: Pair) -> SocketStream:
    """The stream, whose transport has stopped reading, although the peer may send a little more."""
    stream = await with_transport(pair)
    await pair.peer.send(bytes(PAUSE_BYTES + 4000))
    await eventually(lambda: stream._paused)
    return stream


@pytest.mark.parametrize("first", ["watching", "end"])
async def test_an_end_behind_more_than_is_kept(kind: Kind, first: str) -> None:
    async with connected(kind) as pair:
        stream = await flooded(pair)
        async with anyio.create_task_group() as watching:
            if first == "watching":
                watching.start_soon(stream.wait_disconnected)
                assert await waits(anyio.sleep_forever)
                await pair.peer.send_eof()
            else:
                await pair.peer.send_eof()
                await stream.wait_disconnected()
        await stream.wait_disconnected()
        assert len(await pair.receive_all()) == PAUSE_BYTES + 4000
        assert not stream.lost
        stream.send_nowait(b"answer")
        assert await pair.peer_receives(6) == b"answer"


async def test_a_stream_that_is_closed_is_not_looked_at(kind: Kind) -> None:
    async with connected(kind) as pair:
        stream = await flooded(pair)
        assert await waits(stream.wait_disconnected)
        assert stream._cork.ends._on_end
        stream.abort()
        await eventually(lambda: is_closed(stream))
        assert not stream._cork.ends._on_end


async def test_a_network_that_ends_before_its_streams(kind: Kind) -> None:
    assert kind.network is not None
    network = kind.network()
    listener = network.listen(socket.create_server(("127.0.0.1", 0)))
    peer: Any = connect_to(listener.address)
    stream = cast("SocketStream", await listener.accept())
    pair = Pair(stream, peer, listener)
    async with anyio.create_task_group() as services:
        await services.start(network.run)
        await flooded(pair)
        assert await waits(stream.wait_disconnected)
        services.cancel_scope.cancel()
    assert await waits(stream.wait_disconnected)
    stream.abort()
    await stream.wait_disconnected()
    await eventually(lambda: is_closed(stream))
    peer.close()
    listener.close()


# -- the cork of an event loop counts who is on the way ----------------------------------------------------------------


async def test_a_woken_task_that_is_cancelled_before_it_runs_is_not_waited_for(kind: Kind) -> None:
    async with connected(kind) as pair:
        stream = await with_transport(pair)
        cork: LoopCork = stream._cork
        waiting = asyncio.create_task(stream.receive_some())
        await eventually(lambda: stream._readable)
        stream.data_received(b"?")
        assert (cork.expected, cork.is_in) == (1, True)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert cork.expected == 0
        await eventually(lambda: not cork.is_in)
        assert stream.receive_nowait() == b"?"


async def test_a_waiting_task_that_is_cancelled_was_never_expected(kind: Kind) -> None:
    async with connected(kind) as pair:
        stream = await with_transport(pair)
        waiting = asyncio.create_task(stream.receive_some())
        await eventually(lambda: stream._readable)
        waiting.cancel()
        stream.data_received(b"?")  # at the same moment
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (stream._cork.expected, stream._cork.is_in) == (0, False)


async def test_what_others_have_sent_leaves_although_the_last_woken_task_is_cancelled(kind: Kind) -> None:
    async with connected(kind) as pair:
        stream = await with_transport(pair)
        waiting = asyncio.create_task(stream.receive_some())
        await eventually(lambda: stream._readable)
        stream.data_received(b"?")
        waiting.cancel()
        stream.send_nowait(b"held")
        assert stream._corked
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await pair.peer_receives(4) == b"held"


async def test_what_leaves_in_one_turn_is_not_expected_in_the_next(kind: Kind) -> None:
    async with connected(kind) as pair:
        stream = await with_transport(pair)
        for _ in range(5):
            await pair.peer.send(b"?")
            assert await stream.receive_some() == b"?"
            stream.send_nowait(b"!")
            assert await pair.peer_receives(1) == b"!"
            assert stream._cork.expected == 0
            await eventually(lambda: not stream._cork.is_in)


async def test_bursts_that_overlap_are_one(kind: Kind) -> None:
    async with connected(kind) as pair:
        cork: LoopCork = cast("SocketStream", pair.stream)._cork
        for _ in range(3):
            cork.expect_burst()
        assert (cork.expected, cork.is_in) == (1, True)
        pair.stream.send_nowait(b"held")
        assert await pair.peer_receives(4) == b"held"
        await eventually(lambda: not cork.is_in)
        assert cork.expected == 0
