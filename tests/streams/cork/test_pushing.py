"""Who pushes a cork in: tasks that are woken together, and connections that come together."""

import socket
from typing import Any

import anyio
import anyio.lowlevel

from tests.helpers.corks import bursting_only, cork_of
from tests.helpers.stream_pairs import Kind, connected, eventually, listening, waits
from trioserve._streams import ByteStream


def has_news(peer: Any) -> bool:
    """Something has arrived, and not been read."""
    try:
        return bool(peer.sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


@bursting_only
async def test_tasks_that_are_woken_together_send_together(kind: Kind) -> None:
    async with listening(kind) as (listener, connect), anyio.create_task_group() as answering:
        peers: list[Any] = [connect() for _ in range(3)]
        streams = [await listener.accept() for _ in peers]
        seen: list[bool] = []

        async def answer(stream: ByteStream) -> None:
            await stream.receive_some()
            seen.append(any(map(has_news, peers)))
            stream.send_nowait(b"!")

        for stream in streams:
            answering.start_soon(answer, stream)
        assert await waits(anyio.sleep_forever)
        for peer in peers:
            peer.send_first(b"?")
        await eventually(lambda: all(map(has_news, peers)))
        assert seen == [False] * 3
        assert not cork_of(streams[0]).is_in
        for stream, peer in zip(streams, peers, strict=True):
            stream.abort()
            peer.close()


@bursting_only
async def test_who_is_woken_alone_sends_at_once(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as answering:
        held: list[bool] = []

        @answering.start_soon
        async def answer() -> None:
            await pair.stream.receive_some()
            held.append(cork_of(pair.stream).is_in)
            pair.stream.send_nowait(b"!")

        assert await waits(anyio.sleep_forever)
        await pair.peer.send(b"?")
        assert await pair.peer_receives(1) == b"!"
        assert held == [False]


@bursting_only
async def test_connections_accepted_in_a_row_send_together(kind: Kind) -> None:
    async with listening(kind) as (listener, connect):
        peers: list[Any] = [connect() for _ in range(3)]
        streams = [await listener.accept() for _ in peers]
        cork = cork_of(streams[0])
        assert cork.is_in
        for stream in streams:
            stream.send_nowait(b"!")
        assert not any(map(has_news, peers))
        await eventually(lambda: all(map(has_news, peers)))
        await eventually(lambda: not cork.is_in)
        for stream, peer in zip(streams, peers, strict=True):
            stream.abort()
            peer.close()


@bursting_only
async def test_a_connection_that_comes_alone_sends_at_once(kind: Kind) -> None:
    async with listening(kind) as (listener, connect):
        for _ in range(3):
            assert await waits(listener.accept)  # nobody is there, so the next one is the first in its row
            peer = connect()
            stream = await listener.accept()
            assert not cork_of(stream).is_in
            stream.abort()
            peer.close()
