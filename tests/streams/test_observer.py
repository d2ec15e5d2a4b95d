"""Who observes a stream is told each change of ``congested``, once, and consistently with it."""

import contextlib
from typing import Any, cast

import anyio
import pytest

from tests.helpers.stream_pairs import MUCH, Kind, Pair, connected, eventually, send_pieces, waits
from trioserve._streams import ByteStream

waited = pytest.mark.parametrize("waited", [False, True], ids=["young", "waited before"])


class Notes:
    """An observer that writes down what it is told, and whether the stream says the same."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self.told: list[str] = []
        stream.observer = self

    def on_congested(self) -> None:
        self.told.append("congested" if self.stream.congested else "congested, says who is not")

    def on_drained(self) -> None:
        self.told.append("drained" if not self.stream.congested else "drained, says who is congested")


async def prepared(pair: Pair, waited: bool) -> None:
    if waited:  # streams of asyncio have a transport from now on
        assert await waits(pair.stream.receive_some)


async def test_nobody_observes_at_first(kind: Kind) -> None:
    async with connected(kind) as pair:
        assert pair.stream.observer is None
        notes = Notes(pair.stream)
        assert pair.stream.observer is notes
        pair.stream.observer = None
        pair.stream.send_nowait(MUCH)
        assert notes.told == []


@waited
async def test_what_the_network_takes_at_once_is_not_told(kind: Kind, waited: bool) -> None:
    async with connected(kind) as pair:
        await prepared(pair, waited)
        notes = Notes(pair.stream)
        for _ in range(5):
            pair.stream.send_nowait(b"hello")
            send_pieces(pair.stream, [b"hel", b"lo"])
            assert await pair.peer_receives(10) == b"hellohello"
        assert notes.told == []


@waited
@pytest.mark.parametrize("pieces", [False, True], ids=["bytes", "pieces"])
async def test_each_change_is_told_once(kind: Kind, waited: bool, pieces: bool) -> None:
    async with connected(kind) as pair:
        await prepared(pair, waited)
        notes = Notes(pair.stream)
        for turn in range(1, 4):
            if pieces:
                send_pieces(pair.stream, [MUCH[:100_000], MUCH[100_000:]])
            else:
                pair.stream.send_nowait(MUCH)
            assert notes.told == ["congested", "drained"] * (turn - 1) + ["congested"]
            pair.stream.send_nowait(b"more")
            await pair.peer_receives(len(MUCH) + 4)
            await eventually(lambda: not pair.stream.congested)
            assert notes.told == ["congested", "drained"] * turn


async def test_a_wait_that_begins_while_the_stream_is_congested_changes_nothing(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as receiving:
        notes = Notes(pair.stream)
        pair.stream.send_nowait(MUCH)
        receiving.start_soon(pair.stream.receive_some)
        assert await waits(anyio.sleep_forever)
        assert notes.told == ["congested"]
        await pair.peer_receives(len(MUCH))
        await eventually(lambda: not pair.stream.congested)
        assert notes.told == ["congested", "drained"]
        receiving.cancel_scope.cancel()


@waited
async def test_our_end_behind_what_waits(kind: Kind, waited: bool) -> None:
    async with connected(kind) as pair:
        await prepared(pair, waited)
        notes = Notes(pair.stream)
        pair.stream.send_nowait(MUCH)
        pair.stream.send_eof()
        assert await pair.peer_receives_all() == MUCH
        await eventually(lambda: not pair.stream.congested)
        assert notes.told == ["congested", "drained"]


@waited
@pytest.mark.parametrize("who", ["peer", "we"])
async def test_a_connection_that_breaks_is_no_longer_congested(kind: Kind, waited: bool, who: str) -> None:
    async with connected(kind) as pair:
        await prepared(pair, waited)
        notes = Notes(pair.stream)
        pair.stream.send_nowait(MUCH)
        if who == "we":
            pair.stream.abort()
            assert not pair.stream.congested
        else:
            await anyio.sleep(0.01)
            pair.peer.reset()
            await eventually(lambda: pair.stream.lost)
        assert notes.told == ["congested", "drained"]
        await anyio.sleep(0.01)
        pair.stream.abort()
        assert notes.told == ["congested", "drained"]


async def test_a_connection_that_breaks_without_congestion_is_not_told(kind: Kind) -> None:
    async with connected(kind) as pair:
        notes = Notes(pair.stream)
        pair.stream.send_nowait(b"hello")
        pair.stream.abort()
        await anyio.sleep(0.01)
        assert notes.told == []


@waited
async def test_aclose_tells_when_all_has_left(kind: Kind, waited: bool) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as closing:
        await prepared(pair, waited)
        notes = Notes(pair.stream)
        pair.stream.send_nowait(MUCH)
        closing.start_soon(pair.stream.aclose)
        assert await pair.peer_receives_all() == MUCH
        await eventually(lambda: not pair.stream.congested)
        assert notes.told == ["congested", "drained"]


class Refill(Notes):
    """Sends more as soon as the network has taken all."""

    parts = 3

    def on_drained(self) -> None:
        super().on_drained()
        if self.parts and not self.stream.lost:
            self.parts -= 1
            self.stream.send_nowait(MUCH)


@waited
async def test_an_observer_may_send_more(kind: Kind, waited: bool) -> None:
    async with connected(kind) as pair:
        await prepared(pair, waited)
        refill = Refill(pair.stream)
        pair.stream.send_nowait(MUCH)
        assert await pair.peer_receives(len(MUCH) * 4) == MUCH * 4
        await eventually(lambda: not pair.stream.congested)
        assert refill.told == ["congested", "drained"] * 4


class Abort(Notes):
    """Has enough of it at the first or the last opportunity."""

    when = ""
    how = ""

    def on_congested(self) -> None:
        super().on_congested()
        if self.when == "congested":
            self.stream.abort()

    def on_drained(self) -> None:
        super().on_drained()
        if self.how == "abort" or not self.stream.close_nowait():  # TLS may have no room for what it says then
            self.stream.abort()


@waited
@pytest.mark.parametrize(("when", "how"), [
    ("congested", "abort"), ("drained", "abort"), ("drained", "close"), ("broken", "abort")])
async def test_an_observer_may_end_the_stream(kind: Kind, waited: bool, when: str, how: str) -> None:
    async with connected(kind) as pair:
        await prepared(pair, waited)
        abort = Abort(pair.stream)
        abort.when, abort.how = when, how
        pair.stream.send_nowait(MUCH)
        if when == "drained":
            with contextlib.suppress(ConnectionError):  # it is reset before it has all
                await pair.peer_receives(len(MUCH))
        elif when == "broken":
            pair.peer.reset()
        await eventually(lambda: pair.stream.lost)
        assert not pair.stream.congested
        assert abort.told == ["congested", "drained"] * (len(abort.told) // 2)
        assert len(abort.told) == 2 or (how == "close" and kind.tls)


async def test_in_memory_each_end_has_an_observer_of_its_own(kind: Kind) -> None:
    if kind.network is not None or kind.tls or kind.proxied:
        return
    async with connected(kind) as pair:
        client: Any = cast("Any", pair.peer).client
        ours, theirs = Notes(pair.stream), Notes(client)
        client.send_nowait(MUCH)
        assert (ours.told, theirs.told) == ([], ["congested"])
        while client.congested:
            await pair.stream.receive_some()
        assert (ours.told, theirs.told) == ([], ["congested", "drained"])
