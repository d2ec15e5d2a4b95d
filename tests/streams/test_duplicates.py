"""A forked child has every socket of the server, too: connections end all the same. Here ``dup`` stands for a fork."""

import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import pytest

from tests.helpers.corks import socket_of
from tests.helpers.stream_pairs import (
    KINDS,
    MUCH,
    PROXIED_KINDS,
    Kind,
    Pair,
    connected,
    eventually,
    listening,
    skip_if_missing,
    waits,
)
from trioserve._streams import ByteStream, Listener
from trioserve._streams.forked_children import FORKED_CHILDREN, ForkedChildren


@pytest.fixture(autouse=True)
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FORKED_CHILDREN, "may_live", True)


@pytest.fixture(params=[kind for kind in (*KINDS, *PROXIED_KINDS) if kind.network is not None], ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    skip_if_missing(kind)
    return kind


@contextmanager
def duplicated(stream: ByteStream) -> Iterator[None]:
    descriptor = os.dup(socket_of(stream).fileno())
    try:
        yield
    finally:
        os.close(descriptor)


@asynccontextmanager
async def duplicated_pair(kind: Kind, *, waited: bool) -> AsyncIterator[Pair]:
    async with connected(kind) as pair:
        if waited:
            assert await waits(pair.stream.receive_some)
        with duplicated(pair.stream):
            yield pair


@pytest.mark.parametrize("waited", [False, True], ids=["young", "waited before"])
@pytest.mark.parametrize("ending", ["close_nowait", "aclose"])
async def test_our_end_arrives(kind: Kind, ending: str, waited: bool) -> None:
    async with duplicated_pair(kind, waited=waited) as pair:
        pair.stream.send_nowait(b"last")
        if ending == "aclose":
            await pair.stream.aclose()
        else:
            await eventually(pair.stream.close_nowait)
        assert await pair.peer_receives_all() == b"last"


@pytest.mark.parametrize("waited", [False, True], ids=["young", "waited before"])
async def test_our_end_arrives_after_what_was_unsent(kind: Kind, waited: bool) -> None:
    async with duplicated_pair(kind, waited=waited) as pair, anyio.create_task_group() as closing:
        pair.stream.send_nowait(MUCH)
        assert pair.stream.congested
        closing.start_soon(pair.stream.aclose)
        assert await pair.peer_receives_all() == MUCH


@pytest.mark.parametrize("turns", range(4))
async def test_our_end_arrives_while_a_wait_begins(kind: Kind, turns: int) -> None:
    async with duplicated_pair(kind, waited=False) as pair, anyio.create_task_group() as waiting:
        waiting.start_soon(pair.stream.wait_disconnected)
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        await pair.stream.aclose()
        assert await pair.peer_receives_all() == b""


async def test_who_goes_on_sending_is_reset(kind: Kind) -> None:
    async with duplicated_pair(kind, waited=True) as pair:
        await pair.stream.aclose()
        with pytest.raises(ConnectionError):
            while True:
                await pair.peer.send(MUCH)


async def test_a_reset_waits_for_the_child(kind: Kind) -> None:  # RFC 9112 §8
    """It is not taken for the end of what was sent."""
    async with connected(kind) as pair:
        with duplicated(pair.stream):
            pair.stream.abort()
            assert await waits(pair.peer.receive)
        with pytest.raises(ConnectionError):
            await pair.peer.receive()


async def test_the_next_connection_of_that_number_hears_nothing_of_it(kind: Kind) -> None:
    async with listening(kind) as (listener, connect):
        first_peer, next_peer = connect(), connect()
        first = await accepted(listener, first_peer)
        assert await waits(first.wait_disconnected)
        with duplicated(first):
            number = socket_of(first).fileno()
            await first.aclose()
            await eventually(lambda: not is_open(number))
            following = await accepted(listener, next_peer)
            assert socket_of(following).fileno() == number
            async with anyio.create_task_group() as waiting:
                waiting.start_soon(following.wait_disconnected)
                first_peer.close()
                assert await waits(following.wait_disconnected)
                waiting.cancel_scope.cancel()
            following.abort()
        next_peer.close()


async def accepted(listener: Listener, peer: Any) -> ByteStream:
    stream = await listener.accept()
    async with anyio.create_task_group() as opening:
        opening.start_soon(stream.open)
        opening.start_soon(peer.open)
    return stream


def is_open(descriptor: int) -> bool:
    with contextlib.suppress(OSError):
        os.fstat(descriptor)
        return True
    return False


def test_a_fork_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FORKED_CHILDREN, "may_live", False)
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    assert FORKED_CHILDREN.may_live
    assert not ForkedChildren().may_live
