"""Nothing that a cork holds back is lost when its stream is closed meanwhile."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.corks import ALL_OF_HELD, HELD, clear_only, cork_of, corked, is_closed, socket_of
from tests.helpers.stream_pairs import Kind, Pair, connect_to, connected, eventually, fill_kernel, send_pieces, waits
from trioserve import ClientDisconnected

AGES = pytest.mark.parametrize("waited", [False, True], ids=["young", "waited before"])
"""Streams of asyncio have a transport from the first wait on."""


@asynccontextmanager
async def closed_while_held(kind: Kind, *, waited: bool) -> AsyncIterator[Pair]:
    """A connection that was closed while more was held back than the kernel takes, and whose cork is out again."""
    async with connected(kind) as pair:
        if waited:
            assert await waits(pair.stream.receive_some)
        cork = cork_of(pair.stream)
        cork.push_in()
        send_pieces(pair.stream, HELD.copy())
        assert pair.stream.close_nowait()
        cork.pull_out()
        yield pair


@pytest.mark.parametrize("pieces", [False, True], ids=["bytes", "pieces"])
async def test_close_nowait_comes_after_what_is_held(kind: Kind, pieces: bool) -> None:
    async with corked(kind) as (pair, cork):
        if pieces:
            send_pieces(pair.stream, [b"la", b"st"])
        else:
            pair.stream.send_nowait(b"last")
        assert pair.stream.close_nowait() or kind.tls
        cork.pull_out()
        await eventually(pair.stream.close_nowait)
        assert await pair.peer_receives_all() == b"last"
        assert is_closed(pair.stream)


@clear_only
async def test_a_stream_closed_while_it_was_held_needs_nobody_to_close_it(kind: Kind) -> None:
    async with corked(kind) as (pair, cork):
        pair.stream.send_nowait(b"last")
        assert pair.stream.close_nowait()
        assert not is_closed(pair.stream)
        assert await waits(pair.peer.receive)
        cork.pull_out()
        assert await pair.peer_receives_all() == b"last"
        await eventually(lambda: is_closed(pair.stream))


@clear_only
@AGES
async def test_a_peer_that_reads_late_gets_all_of_a_closed_stream(kind: Kind, waited: bool, patience: None) -> None:
    async with closed_while_held(kind, waited=waited) as pair:
        assert await waits(anyio.sleep_forever)
        assert not is_closed(pair.stream)
        assert await pair.peer_receives_all() == ALL_OF_HELD
        await eventually(lambda: is_closed(pair.stream))


@clear_only
@AGES
async def test_a_peer_that_never_reads_is_cut_off(kind: Kind, waited: bool, impatience: None) -> None:
    async with closed_while_held(kind, waited=waited) as pair:
        await eventually(lambda: is_closed(pair.stream))
        assert pair.stream.lost
        with pytest.raises(ConnectionError):
            await pair.peer_receives_all()


@clear_only
@AGES
async def test_a_peer_that_breaks_a_closed_stream_ends_the_wait_for_it(
    kind: Kind, waited: bool, patience: None
) -> None:
    async with closed_while_held(kind, waited=waited) as pair:
        assert await waits(anyio.sleep_forever)
        pair.peer.reset()
        await eventually(lambda: is_closed(pair.stream))


@clear_only
@AGES
async def test_a_network_that_is_cancelled_leaves_no_stream_open_that_was_closed(
    kind: Kind, waited: bool, patience: None
) -> None:
    assert kind.network is not None
    network = kind.network()
    sock = socket.create_server(("127.0.0.1", 0))
    listener = network.listen(sock)
    async with anyio.create_task_group() as services:
        await services.start(network.run)
        peer: Any = connect_to(listener.address)
        stream = await listener.accept()
        if waited:
            assert await waits(stream.receive_some)
        cork_of(stream).push_in()
        stream.send_nowait(b"last")
        assert stream.close_nowait()
        fill_kernel(socket_of(stream))
        services.cancel_scope.cancel()
    assert is_closed(stream)
    with pytest.raises(ConnectionError):
        while await peer.receive():
            pass
    peer.close()
    listener.close()


async def test_a_network_that_was_cancelled_is_not_waited_for(kind: Kind) -> None:
    assert kind.network is not None
    network = kind.network()
    async with anyio.create_task_group() as services:
        await services.start(network.run)
        services.cancel_scope.cancel()
    with anyio.fail_after(5):
        await network.finish()


@clear_only
async def test_a_peer_that_has_gone_before_a_closed_stream_is_pulled_out(kind: Kind) -> None:
    async with corked(kind) as (pair, cork):
        pair.stream.send_nowait(b"last")
        assert pair.stream.close_nowait()
        pair.peer.reset()
        cork.pull_out()
        await eventually(lambda: is_closed(pair.stream))
        assert pair.stream.lost


@pytest.mark.parametrize("pieces", [False, True], ids=["bytes", "pieces"])
async def test_a_peer_that_has_gone_loses_the_stream_quietly(kind: Kind, pieces: bool) -> None:
    async with corked(kind) as (pair, cork):
        if pieces:
            send_pieces(pair.stream, HELD.copy())
        else:
            pair.stream.send_nowait(b"hello")
        pair.peer.reset()
        await eventually(pair.stream.is_disconnected)
        cork.pull_out()
        assert pair.stream.lost
        assert pair.stream.unsent == 0
        with pytest.raises(ClientDisconnected):
            await pair.stream.drain()


async def test_an_abort_drops_what_is_held(kind: Kind) -> None:
    async with corked(kind) as (pair, cork):
        pair.stream.send_nowait(b"hello")
        pair.stream.abort()
        cork.pull_out()
        with pytest.raises(ConnectionError):
            await pair.peer_receives_all()
        await eventually(lambda: is_closed(pair.stream))


async def test_our_end_comes_after_what_is_held(kind: Kind) -> None:
    async with corked(kind) as (pair, _):
        pair.stream.send_nowait(b"last")
        pair.stream.send_eof()
        assert await pair.peer_receives_all() == b"last"


async def test_aclose_sends_what_is_held(kind: Kind) -> None:
    async with corked(kind) as (pair, _), anyio.create_task_group() as closing:
        send_pieces(pair.stream, HELD.copy())
        closing.start_soon(pair.stream.aclose)
        assert await pair.peer_receives_all() == ALL_OF_HELD
    assert is_closed(pair.stream)
