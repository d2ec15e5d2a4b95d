"""Tasks that a stream wakes by itself when the peer leaves, so that none has to wait in the stream."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.stream_pairs import KINDS, PROXIED_KINDS, Kind, Pair, connected, eventually, skip_if_missing
from trioserve._streams import WaitingTasks, new_waiting_tasks
from trioserve._streams.on_asyncio.stream import PAUSE_BYTES

READ_BY_ITSELF = {"asyncio": PAUSE_BYTES, "uvloop": PAUSE_BYTES}     # by the transport that looks for the end
LEFT_IN_KERNEL = 4000

WAKING_KINDS = [kind for kind in [*KINDS, *PROXIED_KINDS] if not kind.tls and kind.name != "trio-plain"]
OTHER_KINDS = [kind for kind in [*KINDS, *PROXIED_KINDS] if kind not in WAKING_KINDS]


@pytest.fixture(params=WAKING_KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    skip_if_missing(kind)
    return kind


async def leave_politely(pair: Pair) -> None:
    await pair.peer.send_eof()


async def leave_after_a_word(pair: Pair) -> None:
    await pair.peer.send(b"last")
    await pair.peer.send_eof()


async def break_off(pair: Pair) -> None:
    pair.peer.reset()


async def throw_out(pair: Pair) -> None:
    pair.stream.abort()


ENDS: list[Callable[[Pair], Awaitable[None]]] = [leave_politely, leave_after_a_word, break_off, throw_out]


async def let_others_run() -> None:
    for _ in range(5):
        await anyio.lowlevel.checkpoint()


class Waiter:
    """One task that waits in ``tasks``."""

    def __init__(self, tasks: WaitingTasks) -> None:
        self._tasks = tasks
        self.is_woken = False

    async def __call__(self) -> None:
        await self._tasks.wait()
        self.is_woken = True


@pytest.mark.parametrize("end", ENDS)
async def test_they_are_woken_at_the_end(kind: Kind, end: Callable[[Pair], Awaitable[None]]) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as group:
        tasks = new_waiting_tasks()
        assert pair.stream.wakes_at_end(tasks)
        waiters = [Waiter(tasks), Waiter(tasks)]
        for waiter in waiters:
            group.start_soon(waiter)
        await let_others_run()
        assert not any(waiter.is_woken for waiter in waiters)
        await end(pair)
        await eventually(lambda: all(waiter.is_woken for waiter in waiters))


async def test_beside_somebody_who_waits_in_the_stream(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as group:
        tasks = new_waiting_tasks()
        group.start_soon(pair.stream.wait_disconnected)
        await let_others_run()
        assert pair.stream.wakes_at_end(tasks)
        group.start_soon(waiter := Waiter(tasks))
        await let_others_run()
        await pair.peer.send_eof()
        await eventually(lambda: waiter.is_woken)


async def test_of_two_the_last_one_is_woken(kind: Kind) -> None:
    async with connected(kind) as pair, anyio.create_task_group() as group:
        before, tasks = new_waiting_tasks(), new_waiting_tasks()
        assert pair.stream.wakes_at_end(before)
        assert pair.stream.wakes_at_end(tasks)
        forgotten, waiter = Waiter(before), Waiter(tasks)
        group.start_soon(forgotten)
        group.start_soon(waiter)
        await let_others_run()
        await pair.peer.send_eof()
        await eventually(lambda: waiter.is_woken)
        assert not forgotten.is_woken
        before.wake()


async def test_after_the_end_somebody_has_to_ask(kind: Kind) -> None:
    async with connected(kind) as pair:
        await leave_after_a_word(pair)
        await pair.stream.wait_disconnected()
        assert not pair.stream.wakes_at_end(new_waiting_tasks())
        assert await pair.stream.receive_some() == b"last"


async def test_a_stream_that_is_closed_wakes_nobody(kind: Kind) -> None:
    async with connected(kind) as pair:
        pair.stream.abort()
        assert not pair.stream.wakes_at_end(new_waiting_tasks())


async def test_what_arrives_meanwhile_is_kept(kind: Kind) -> None:
    async with connected(kind) as pair:
        assert pair.stream.wakes_at_end(new_waiting_tasks())
        await pair.peer.send(b"first ")
        await let_others_run()
        await pair.peer.send(b"second")
        await pair.peer.send_eof()
        assert await pair.receive_all() == b"first second"


@pytest.mark.parametrize("asks_first", [False, True])
async def test_a_peer_that_sends_much_and_leaves(kind: Kind, asks_first: bool) -> None:
    """Nobody receives it, and the end is known all the same."""
    read_by_itself = READ_BY_ITSELF.get(kind.name.removeprefix("proxied-"), 0) if asks_first else 0
    size = read_by_itself + LEFT_IN_KERNEL
    async with connected(kind) as pair, anyio.create_task_group() as group:
        tasks = new_waiting_tasks()
        assert not asks_first or pair.stream.wakes_at_end(tasks)
        group.start_soon(waiter := Waiter(tasks))
        await pair.peer.send(bytes(size))
        await eventually(pair.stream.has_input)
        assert asks_first or pair.stream.wakes_at_end(tasks)
        await let_others_run()
        assert not waiter.is_woken
        await pair.peer.send_eof()
        await eventually(lambda: waiter.is_woken)
        assert len(await pair.receive_all()) == size


@pytest.mark.parametrize("kind", OTHER_KINDS, ids=str, indirect=True)
async def test_other_streams_wake_nobody(kind: Kind) -> None:
    async with connected(kind) as pair:
        tasks: Any = None
        assert not pair.stream.wakes_at_end(tasks)
