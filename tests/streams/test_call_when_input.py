"""``call_when_input``: being called back instead of waiting, so that an idle connection needs no task."""

import anyio
import pytest

from tests.helpers.stream_pairs import Kind, Pair, connected, eventually
from trioserve._streams import ByteStream, running_backend


class Called:
    """A callback that counts."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1

    def asked(self, stream: ByteStream) -> bool:
        """Ask for the call; false where tasks wait themselves."""
        asked = stream.call_when_input(self)
        assert asked or running_backend() == "trio"
        return asked


async def begun(pair: Pair) -> None:
    """A first exchange is over, as on an idle connection."""
    await pair.peer.send(b"first")
    assert await pair.stream.receive_some() == b"first"


async def test_it_is_called_once_when_there_is_input(kind: Kind) -> None:
    async with connected(kind) as pair:
        await begun(pair)
        called = Called()
        if not called.asked(pair.stream):
            return
        assert called.times == 0
        await pair.peer.send(b"second")
        await eventually(lambda: called.times == 1)
        assert await pair.stream.receive_some() == b"second"
        await pair.peer.send(b"third")
        assert await pair.stream.receive_some() == b"third"
        assert called.times == 1


async def test_there_is_no_call_for_what_is_there_already(kind: Kind) -> None:
    async with connected(kind) as pair:
        await begun(pair)
        await pair.peer.send(b"second")
        await eventually(pair.stream.has_input)
        called = Called()
        if pair.stream.call_when_input(called):  # the event loop has not seen it yet
            await eventually(lambda: called.times == 1)
        assert await pair.stream.receive_some() == b"second"
        assert called.times <= 1


@pytest.mark.parametrize("how", ["the peer finishes", "the peer resets", "an interruption", "an abort"])
async def test_every_end_calls_back(kind: Kind, how: str) -> None:
    async with connected(kind) as pair:
        await begun(pair)
        called = Called()
        if not called.asked(pair.stream):
            return
        if how == "the peer finishes":
            await pair.peer.send_eof()
        elif how == "the peer resets":
            pair.peer.reset()
        elif how == "an interruption":
            pair.stream.interrupt()
        else:
            pair.stream.abort()
        await eventually(lambda: called.times == 1)


async def test_it_is_called_beside_somebody_who_waits_and_takes_the_input(kind: Kind) -> None:
    """Over TLS the watch for a client that leaves may still read when the next request is expected already."""
    async with connected(kind) as pair:
        await begun(pair)
        called = Called()
        if not called.asked(pair.stream):
            return
        received: list[bytes] = []

        async def receive() -> None:
            received.append(await pair.stream.receive_some())

        async with anyio.create_task_group() as waiting:
            waiting.start_soon(receive)
            await anyio.wait_all_tasks_blocked()
            await pair.peer.send(b"second")
        await eventually(lambda: called.times == 1)
        assert received == [b"second"]
