"""What a cork holds back: it leaves in order, it leaves soon, and nothing is lost when a stream is closed meanwhile."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.stream_pairs import (
    KINDS,
    PROXIED_KINDS,
    Kind,
    Pair,
    connect_to,
    connected,
    eventually,
    fill_kernel,
    listening,
    send_pieces,
    skip_if_missing,
    waits,
)
from trioserve import ClientDisconnected
from trioserve._streams import AT_ONCE_BYTES, ByteStream
from trioserve._streams.cork import CORK_SECONDS, Cork

LARGE = [b"%d" % (number % 10) * 5000 for number in range(200)]  # 1 MB, more than all buffers on the way
ALL_OF_LARGE = b"".join(LARGE)

HELD = LARGE[:13]  # as much as can be held; still more than all buffers on the way
ALL_OF_HELD = b"".join(HELD)

CORKED_KINDS = [kind for kind in [*KINDS, *PROXIED_KINDS] if kind.network is not None]
CLEAR_KINDS = [kind for kind in CORKED_KINDS if not kind.tls]  # TLS says that it closes, so it is never closed corked
BURSTING_KINDS = [kind for kind in CLEAR_KINDS if not kind.proxied and kind.name != "trio-plain"]

clear_only = pytest.mark.parametrize("kind", CLEAR_KINDS, ids=str, indirect=True)
bursting_only = pytest.mark.parametrize("kind", BURSTING_KINDS, ids=str, indirect=True)


@pytest.fixture(params=CORKED_KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    skip_if_missing(kind)
    return kind


class Clock:
    """Stands in for ``time.perf_counter``: a slow machine shall not pull out a cork."""

    def __init__(self) -> None:
        self.now = 100.0  # seconds

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("trioserve._streams.cork.perf_counter", clock)
    return clock


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed stream waits long enough for the slowest machine's peer."""
    set_patience(monkeypatch, 60.0)


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    set_patience(monkeypatch, 0.02)


def set_patience(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr("trioserve._streams.cork.CLOSE_SECONDS", seconds)


def socket_stream(stream: Any) -> Any:
    """The stream at the bottom."""
    while not hasattr(stream, "_cork"):
        stream = stream._inner if hasattr(stream, "_inner") else stream._stream
    return stream


def cork_of(stream: ByteStream) -> Cork:
    cork: Cork = socket_stream(stream)._cork
    return cork


def is_closed(stream: ByteStream) -> bool:
    """The descriptor is given back."""
    return bool(socket_stream(stream)._sock.fileno() < 0)


@asynccontextmanager
async def corked(kind: Kind) -> AsyncIterator[tuple[Pair, Cork]]:
    """A connection whose cork is in until somebody pulls it out."""
    async with connected(kind) as pair:
        cork = cork_of(pair.stream)
        await eventually(lambda: not cork.is_in)  # the turn of a handshake is over
        cork.push_in()
        try:
            yield pair, cork
        finally:
            cork.pull_out()


# -- held, and in order ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [False, True], ids=["bytes", "pieces"])
async def test_it_leaves_when_the_cork_is_pulled_out(kind: Kind, pieces: bool) -> None:
    async with corked(kind) as (pair, cork):
        if pieces:
            send_pieces(pair.stream, [b"he", b"ll", b"o"])
        else:
            pair.stream.send_nowait(b"hello")
        assert await waits(pair.peer.receive)
        cork.pull_out()
        assert await pair.peer_receives(5) == b"hello"
        pair.stream.send_nowait(b"at once")
        assert await pair.peer_receives(7) == b"at once"


async def test_what_one_stream_sends_keeps_its_order(kind: Kind) -> None:
    async with corked(kind) as (pair, cork), anyio.create_task_group() as receiving:
        received: list[bytes] = []
        expected = b"small" + ALL_OF_LARGE + b"small again" + b"part" * 3 + b"last"

        @receiving.start_soon
        async def receive() -> None:
            received.append(await pair.peer_receives(len(expected)))

        pair.stream.send_nowait(b"small")
        send_pieces(pair.stream, LARGE.copy())
        pair.stream.send_nowait(b"small again")
        send_pieces(pair.stream, [b"part"] * 3)
        pair.stream.send_nowait(b"last")
        cork.pull_out()
    assert received == [expected]


async def test_large_pieces_that_were_held_follow_as_the_peer_reads(kind: Kind) -> None:
    async with corked(kind) as (pair, cork):
        send_pieces(pair.stream, HELD.copy())
        cork.pull_out()
        assert pair.stream.congested
        assert await pair.peer_receives(len(ALL_OF_HELD)) == ALL_OF_HELD
        await eventually(lambda: not pair.stream.unsent)


async def test_what_is_sent_on_a_congested_stream_follows(kind: Kind) -> None:
    async with corked(kind) as (pair, cork):
        send_pieces(pair.stream, HELD.copy())
        cork.pull_out()
        cork.push_in()
        pair.stream.send_nowait(b"more")
        send_pieces(pair.stream, [b"and ", b"more"])
        cork.pull_out()
        assert await pair.peer_receives(len(ALL_OF_HELD) + 12) == ALL_OF_HELD + b"moreand more"


async def test_two_streams_of_one_server_leave_together(kind: Kind) -> None:
    async with two_connections(kind) as (cork, first, second):
        first.stream.send_nowait(b"first")
        second.stream.send_nowait(b"second")
        assert await waits(first.peer.receive)
        assert await waits(second.peer.receive)
        cork.pull_out()
        assert await first.peer_receives(5) == b"first"
        assert await second.peer_receives(6) == b"second"


async def test_nothing_is_held_for_longer_than_a_moment(kind: Kind, clock: Clock) -> None:
    async with two_connections(kind) as (cork, first, second):
        first.stream.send_nowait(b"first")
        clock.now += CORK_SECONDS / 2
        second.stream.send_nowait(b"second")
        assert await waits(first.peer.receive)
        clock.now += CORK_SECONDS
        second.stream.send_nowait(b" and more")  # who sends more than once sends at once
        assert await waits(first.peer.receive)
        assert await second.peer_receives(15) == b"second and more"
        second.stream.send_nowait(b"later")
        assert await first.peer_receives(5) == b"first"
        assert await waits(second.peer.receive)
        cork.pull_out()
        assert await second.peer_receives(5) == b"later"


class Held:
    """Has something to send at the end of the turn."""

    def __init__(self) -> None:
        self.turn_is_over = anyio.Event()

    def uncork(self) -> None:
        self.turn_is_over.set()


async def test_a_turn_that_nobody_waits_for(kind: Kind) -> None:
    async with connected(kind) as pair:
        cork = cork_of(pair.stream)
        await eventually(lambda: not cork.is_in)
        held = Held()
        assert not pair.stream.defers(held, expects_others=False)
        for _ in range(3):
            assert pair.stream.defers(held, expects_others=True)
            assert pair.stream.defers(Held(), expects_others=False)  # in the same turn
            assert not held.turn_is_over.is_set()
            await held.turn_is_over.wait()
            assert not cork.is_in
            held = Held()


@asynccontextmanager
async def two_connections(kind: Kind) -> AsyncIterator[tuple[Cork, Pair, Pair]]:
    """Two connections to one server, whose cork is in."""
    async with listening(kind) as (listener, connect):
        pairs = []
        try:
            for _ in range(2):
                peer = connect()
                stream = await listener.accept()
                pairs.append(Pair(stream, peer, listener))
                async with anyio.create_task_group() as opening:
                    opening.start_soon(stream.open)
                    opening.start_soon(peer.open)
            cork = cork_of(pairs[0].stream)
            assert cork_of(pairs[1].stream) is cork
            await eventually(lambda: not cork.is_in)
            cork.push_in()
            yield cork, pairs[0], pairs[1]
            cork.pull_out()
        finally:
            for pair in pairs:
                pair.stream.abort()
                pair.peer.close()


# -- how much is unsent ------------------------------------------------------------------------------------------------


async def test_what_is_large_counts_as_unsent(kind: Kind) -> None:
    async with corked(kind) as (pair, _):
        send_pieces(pair.stream, HELD.copy())
        assert pair.stream.unsent >= len(ALL_OF_HELD)
        assert pair.stream.untaken() >= len(ALL_OF_HELD)


async def test_what_is_small_does_not(kind: Kind) -> None:
    async with corked(kind) as (pair, _):
        pair.stream.send_nowait(b"hello")
        assert pair.stream.unsent == 0


class Notes:
    """An observer that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def on_congested(self) -> None:
        self.told.append("congested")

    def on_drained(self) -> None:
        self.told.append("drained")


async def test_what_is_held_does_not_congest_the_stream_before_it_leaves(kind: Kind) -> None:
    async with corked(kind) as (pair, cork):
        notes = pair.stream.observer = Notes()
        send_pieces(pair.stream, HELD.copy())
        assert notes.told == []
        assert not pair.stream.congested
        cork.pull_out()
        assert notes.told == ["congested"]
        await pair.peer_receives(len(ALL_OF_HELD))
        await eventually(lambda: not pair.stream.congested)
        assert notes.told == ["congested", "drained"]


async def test_what_is_uncorked_leaves_now(kind: Kind) -> None:
    async with corked(kind) as (pair, _):
        pair.stream.uncork()
        pair.stream.send_nowait(b"hello")
        pair.stream.uncork()
        assert await pair.peer_receives(5) == b"hello"
        send_pieces(pair.stream, HELD.copy())
        assert not pair.stream.congested
        pair.stream.uncork()
        assert pair.stream.congested
        assert await waits(pair.stream.drain)
        assert await pair.peer_receives(len(ALL_OF_HELD)) == ALL_OF_HELD
        await pair.stream.drain()
        assert pair.stream.unsent == 0


@pytest.mark.parametrize("pieces", [False, True], ids=["bytes", "pieces"])
async def test_what_is_very_large_is_not_held(kind: Kind, pieces: bool) -> None:
    async with corked(kind) as (pair, _):
        if pieces:
            send_pieces(pair.stream, [bytes(AT_ONCE_BYTES // 2)] * 2)
        else:
            pair.stream.send_nowait(bytes(AT_ONCE_BYTES))
        assert pair.stream.congested
        assert await pair.peer_receives(AT_ONCE_BYTES) == bytes(AT_ONCE_BYTES)


# -- closing while something is held -----------------------------------------------------------------------------------


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
@pytest.mark.parametrize("waited", [False, True], ids=["young", "waited before"])
async def test_a_peer_that_reads_late_gets_all_of_a_closed_stream(kind: Kind, waited: bool, patience: None) -> None:
    async with connected(kind) as pair:
        if waited:  # streams of asyncio have a transport from now on
            assert await waits(pair.stream.receive_some)
        cork = cork_of(pair.stream)
        cork.push_in()
        send_pieces(pair.stream, HELD.copy())
        assert pair.stream.close_nowait()
        cork.pull_out()
        assert await waits(anyio.sleep_forever)
        assert not is_closed(pair.stream)
        assert await pair.peer_receives_all() == ALL_OF_HELD
        await eventually(lambda: is_closed(pair.stream))


@clear_only
@pytest.mark.parametrize("waited", [False, True], ids=["young", "waited before"])
async def test_a_peer_that_never_reads_is_cut_off(kind: Kind, waited: bool, impatience: None) -> None:
    async with connected(kind) as pair:
        if waited:
            assert await waits(pair.stream.receive_some)
        cork = cork_of(pair.stream)
        cork.push_in()
        send_pieces(pair.stream, HELD.copy())
        assert pair.stream.close_nowait()
        cork.pull_out()
        await eventually(lambda: is_closed(pair.stream))
        assert pair.stream.lost
        with pytest.raises(ConnectionError):
            await pair.peer_receives_all()


@clear_only
@pytest.mark.parametrize("waited", [False, True], ids=["young", "waited before"])
async def test_a_peer_that_breaks_a_closed_stream_ends_the_wait_for_it(
    kind: Kind, waited: bool, patience: None
) -> None:
    async with connected(kind) as pair:
        if waited:
            assert await waits(pair.stream.receive_some)
        cork = cork_of(pair.stream)
        cork.push_in()
        send_pieces(pair.stream, HELD.copy())
        assert pair.stream.close_nowait()
        cork.pull_out()
        assert await waits(anyio.sleep_forever)
        pair.peer.reset()
        await eventually(lambda: is_closed(pair.stream))


@clear_only
@pytest.mark.parametrize("waited", [False, True], ids=["young", "waited before"])
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
        fill_kernel(socket_stream(stream)._sock)
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


# -- who pushes it in --------------------------------------------------------------------------------------------------


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
