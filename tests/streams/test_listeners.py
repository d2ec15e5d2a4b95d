"""Listeners: addresses, accepting, closing."""

import anyio
import pytest

from tests.helpers.stream_pairs import PLAIN_KINDS, Kind, connected, listening, skip_if_missing, waits
from trioserve._streams import ByteStream


@pytest.fixture(params=PLAIN_KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    skip_if_missing(kind)
    return kind


async def test_both_ends_have_an_address(kind: Kind) -> None:
    async with connected(kind) as pair:
        assert pair.stream.local == pair.listener.address
        assert pair.stream.peer is not None
        assert pair.stream.peer[1] is not None


async def test_accept_waits_for_a_connection(kind: Kind) -> None:
    async with listening(kind) as (listener, connect):
        assert await waits(listener.accept)
        peer = connect()
        stream = await listener.accept()
        stream.abort()
        peer.close()


async def test_a_cancelled_accept_loses_no_connection(kind: Kind) -> None:
    async with listening(kind) as (listener, connect):
        for _ in range(3):
            assert await waits(listener.accept)
        peer = connect()
        stream = await listener.accept()
        await stream.open()
        await peer.send(b"hello")
        assert await stream.receive_some() == b"hello"
        stream.abort()
        peer.close()


async def test_connections_are_accepted_in_their_order(kind: Kind) -> None:
    async with listening(kind) as (listener, connect):
        peers = [connect() for _ in range(20)]
        streams = [await listener.accept() for _ in peers]
        for number, (stream, peer) in enumerate(zip(streams, peers, strict=True)):
            await stream.open()
            await peer.send(b"%d" % number)
            assert await stream.receive_some() == b"%d" % number
            stream.send_nowait(b"!")
            assert await peer.receive() == b"!"
            stream.abort()
            peer.close()


async def test_a_stream_that_was_never_opened_can_be_aborted(kind: Kind) -> None:
    async with listening(kind) as (listener, connect):
        peer = connect()
        stream = await listener.accept()
        stream.abort()
        stream.abort()
        assert stream.lost
        with pytest.raises(ConnectionError):
            await peer.receive()
            raise ConnectionResetError  # an end without an error is as good
        peer.close()


async def test_a_peer_that_has_left_before_it_was_accepted(kind: Kind) -> None:
    async with listening(kind) as (listener, connect):
        connect().close()
        stream = await listener.accept()
        await stream.open()
        assert await stream.receive_some() == b""
        stream.abort()


async def test_many_connections_side_by_side(kind: Kind) -> None:
    async with listening(kind) as (listener, connect), anyio.create_task_group() as tasks:

        async def accept() -> None:
            for _ in range(50):
                tasks.start_soon(answer, await listener.accept())

        async def answer(stream: ByteStream) -> None:
            await stream.open()
            while data := await stream.receive_some():
                stream.send_nowait(data.upper())
                await stream.drain()
            await stream.aclose()

        async def ask(number: int) -> None:
            peer = connect()
            for word in (b"a%d", b"b%d", b"c%d"):
                await peer.send(word % number)
                assert await peer.receive() == (word % number).upper()
            await peer.send_eof()
            assert await peer.receive() == b""
            peer.close()

        tasks.start_soon(accept)
        for number in range(50):
            tasks.start_soon(ask, number)
