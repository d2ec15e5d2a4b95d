"""``send_file``, over every kind of stream whose network takes files."""

import os
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from tests.helpers.stream_pairs import (
    KINDS,
    PROXIED_KINDS,
    Kind,
    Pair,
    connected,
    eventually,
    skip_if_missing,
    waits,
)
from trioserve import ClientDisconnected
from trioserve._streams import FileOutlet

MUCH = os.urandom(1 << 20)  # more than all buffers on the way
HEAD = b"the head"


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    """Of a file of MUCH."""
    path = tmp_path / "much"
    path.write_bytes(MUCH)
    descriptor = os.open(path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture(params=[kind for kind in [*KINDS, *PROXIED_KINDS] if kind.takes_files], ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    skip_if_missing(kind)
    return kind


def outlet_of(pair: Pair) -> FileOutlet:
    outlet = pair.stream.file_outlet
    assert outlet is not None
    return outlet


async def test_head_and_file_arrive(kind: Kind, descriptor: int) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as tasks:
        outlet = outlet_of(pair)
        sent: list[int] = []

        async def send() -> None:
            sent.append(await outlet.send_file(HEAD, descriptor, 0, len(MUCH)))
            pair.stream.send_nowait(b"after")

        tasks.start_soon(send)
        assert await pair.peer_receives(len(HEAD)) == HEAD
        assert await pair.peer_receives(len(MUCH)) == MUCH
        assert await pair.peer_receives(5) == b"after"
        assert sent == [len(MUCH)]
        assert not pair.stream.congested


async def test_a_part_of_a_file(kind: Kind, descriptor: int) -> None:
    async with connected(kind) as pair:
        assert await outlet_of(pair).send_file(b"", descriptor, 1000, 100) == 100
        assert await pair.peer_receives(100) == MUCH[1000:1100]
        assert os.lseek(descriptor, 0, os.SEEK_CUR) == 0


async def test_what_was_sent_before_comes_before(kind: Kind, descriptor: int) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as tasks:
        outlet = outlet_of(pair)
        pair.stream.send_nowait(MUCH)
        assert pair.stream.congested
        tasks.start_soon(outlet.send_file, HEAD, descriptor, 0, 100)
        assert await pair.peer_receives(len(MUCH)) == MUCH
        assert await pair.peer_receives(len(HEAD) + 100) == HEAD + MUCH[:100]


async def test_what_a_cork_holds_back_comes_before(kind: Kind, descriptor: int) -> None:
    async with connected(kind) as pair:
        outlet = outlet_of(pair)
        for _ in range(5):
            await pair.peer.send(b"?")
            await pair.stream.receive_some()
            pair.stream.send_nowait(b"first")
            await outlet.send_file(HEAD, descriptor, 0, 10)
            assert await pair.peer_receives(5 + len(HEAD) + 10) == b"first" + HEAD + MUCH[:10]


async def test_fewer_bytes_where_the_file_ends(kind: Kind, descriptor: int) -> None:
    async with connected(kind) as pair:
        outlet = outlet_of(pair)
        assert await outlet.send_file(HEAD, descriptor, len(MUCH) - 10, 100) == 10
        assert await pair.peer_receives(len(HEAD) + 10) == HEAD + MUCH[-10:]
        assert await outlet.send_file(b"", descriptor, len(MUCH), 100) == 0


async def test_no_bytes_of_what_the_kernel_does_not_send(kind: Kind) -> None:
    readable, writable = os.pipe()
    try:
        async with connected(kind) as pair:
            os.write(writable, b"in a pipe")
            assert await outlet_of(pair).send_file(HEAD, readable, 0, 9) == 0
            pair.stream.send_nowait(os.read(readable, 9))
            assert await pair.peer_receives(len(HEAD) + 9) == HEAD + b"in a pipe"
    finally:
        os.close(readable)
        os.close(writable)


async def test_a_slow_peer_congests_the_stream_and_is_observed(kind: Kind, descriptor: int) -> None:
    told = []

    class Observer:
        def on_congested(self) -> None:
            told.append("congested")

        def on_drained(self) -> None:
            told.append("drained")

    async with connected(kind) as pair:
        outlet = outlet_of(pair)
        pair.stream.observer = Observer()

        async def send() -> None:
            await outlet.send_file(HEAD, descriptor, 0, len(MUCH))

        assert await waits(send)
        assert told[-2:] == ["congested", "drained"], "the wait was cancelled"
        assert told == ["congested", "drained"] * (len(told) // 2)
        assert pair.stream.untaken() > 0
        assert pair.stream.unsent == 0


@pytest.mark.parametrize("ends", ["peer resets", "peer closes", "we abort"])
async def test_a_connection_that_breaks_ends_the_wait(kind: Kind, descriptor: int, ends: str) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as tasks:
        outlet = outlet_of(pair)

        async def send() -> None:
            with pytest.raises(ClientDisconnected):
                await outlet.send_file(HEAD, descriptor, 0, len(MUCH))
            assert pair.stream.lost
            assert not pair.stream.congested
            with pytest.raises(ClientDisconnected):
                await outlet.send_file(b"", descriptor, 0, 10)

        tasks.start_soon(send)
        await pair.peer_receives(len(HEAD))
        await eventually(lambda: pair.stream.congested)
        if ends == "peer resets":
            pair.peer.reset()
        elif ends == "peer closes":
            pair.peer.close()
        else:
            pair.stream.abort()


async def test_whoever_is_cancelled_keeps_nobody_from_waiting_or_closing(kind: Kind, descriptor: int) -> None:
    async with connected(kind) as pair:
        outlet = outlet_of(pair)
        for _ in range(3):
            with anyio.CancelScope() as sending:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(outlet.send_file, b"", descriptor, 0, len(MUCH))
                    await eventually(lambda: pair.stream.congested)
                    sending.cancel()
        assert not pair.stream.congested
        await pair.stream.aclose()


async def test_a_file_while_the_peer_is_watched(kind: Kind, descriptor: int) -> None:
    """On asyncio there is a transport then, and its event loop lets nobody else wait for the socket."""
    async with connected(kind) as pair, anyio.create_task_group() as tasks:
        outlet = outlet_of(pair)
        tasks.start_soon(pair.stream.wait_disconnected)
        await anyio.sleep(0.01)
        tasks.start_soon(outlet.send_file, HEAD, descriptor, 0, len(MUCH))
        assert await pair.peer_receives(len(HEAD) + len(MUCH)) == HEAD + MUCH
        await pair.peer.send_eof()
