"""Tasks that wait to be woken, on each backend."""

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.stream_pairs import KINDS, Kind, skip_if_missing
from trioserve._streams import WaitingTasks, open_network


@pytest.fixture(params=[kind for kind in KINDS if kind.name in ("trio-plain", "asyncio", "uvloop")], ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    """One of each backend."""
    kind: Kind = request.param
    skip_if_missing(kind)
    return kind


@pytest.fixture
async def waiting() -> WaitingTasks:
    return open_network().new_waiting_tasks()


async def let_others_run() -> None:
    for _ in range(3):
        await anyio.lowlevel.checkpoint()


async def test_all_that_wait_are_woken(waiting: WaitingTasks) -> None:
    woken: list[int] = []

    async def wait(number: int) -> None:
        await waiting.wait()
        woken.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(wait, number)
        await let_others_run()
        assert waiting
        assert woken == []
        waiting.wake()
        assert not waiting
    assert sorted(woken) == [0, 1, 2]


async def test_who_waits_again_is_not_woken_by_what_has_been(waiting: WaitingTasks) -> None:
    turns: list[str] = []

    async def wait() -> None:
        for turn in ("first", "second"):
            await waiting.wait()
            turns.append(turn)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        waiting.wake()  # nobody waits yet
        await let_others_run()
        assert turns == []
        waiting.wake()
        await let_others_run()
        assert turns == ["first"]
        assert waiting
        waiting.wake()
    assert turns == ["first", "second"]


async def test_who_is_cancelled_waits_no_longer(waiting: WaitingTasks) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            scope = anyio.CancelScope()
            tasks.start_soon(wait_in, scope, waiting)
            await let_others_run()
            scope.cancel()
            await let_others_run()
            assert not waiting
        waiting.wake()


async def wait_in(scope: anyio.CancelScope, waiting: WaitingTasks) -> None:
    with scope:
        await waiting.wait()
    assert scope.cancelled_caught


async def test_one_is_cancelled_and_the_others_wait_on(waiting: WaitingTasks) -> None:
    async with anyio.create_task_group() as tasks:
        scopes = [anyio.CancelScope() for _ in range(2)]
        tasks.start_soon(wait_in, scopes[0], waiting)
        tasks.start_soon(waiting_once, waiting)
        await let_others_run()
        scopes[0].cancel()
        await let_others_run()
        assert waiting
        waiting.wake()


async def waiting_once(waiting: WaitingTasks) -> None:
    await waiting.wait()


async def test_who_is_woken_and_cancelled_at_once_is_neither_lost_nor_kept(waiting: WaitingTasks) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(waiting_once, waiting)
        await let_others_run()
        waiting.wake()
        tasks.cancel_scope.cancel()
    assert not waiting
