"""Tasks that take their first step before anybody else runs: on asyncio, from Python 3.12 on."""

import asyncio
from typing import Any

import pytest

from tests.helpers.nurseries import NURSERY_KINDS, Worker, child_nursery
from tests.helpers.stream_pairs import Kind, connected, skip_if_missing
from trioserve._streams import running_backend
from trioserve._streams.on_asyncio.eager import CAN_BEGIN_AT_ONCE
from trioserve._streams.on_asyncio.nursery import AsyncioNursery


@pytest.fixture(params=NURSERY_KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    skip_if_missing(kind)
    return kind


@pytest.fixture
def begins_at_once(kind: Kind) -> bool:
    return CAN_BEGIN_AT_ONCE and kind.name in ("asyncio", "uvloop")


async def test_a_task_begins_before_start_at_once_returns(begins_at_once: bool) -> None:
    worker = Worker()
    async with child_nursery() as nursery:
        task = nursery.start_at_once(worker)
        assert worker.begun.is_set() == begins_at_once
        assert task is not None
        task.cancel()
    assert worker.outcome == "cancelled"


async def test_nothing_is_left_of_a_task_that_has_ended_with_its_first_step(begins_at_once: bool) -> None:
    steps: list[str] = []

    async def never_waits() -> None:
        steps.append("first")

    async with child_nursery() as nursery:
        task = nursery.start_at_once(never_waits)
        assert bool(steps) == begins_at_once
        assert (task is None) == begins_at_once
        if isinstance(nursery, AsyncioNursery):
            assert bool(nursery.tasks()) != begins_at_once
    assert steps == ["first"]


async def test_the_first_step_is_a_step_of_the_new_task(begins_at_once: bool) -> None:
    """With a name, in the list of all tasks, and in the nursery for whoever looks."""
    if not begins_at_once:
        return
    seen: list[asyncio.Task[Any] | None] = []

    async def look() -> None:
        seen.append(running := asyncio.current_task())
        assert running in asyncio.all_tasks()
        assert isinstance(nursery, AsyncioNursery)
        assert running in nursery.tasks()

    outer = asyncio.current_task()
    async with child_nursery() as nursery:
        assert nursery.start_at_once(look) is None
        assert asyncio.current_task() is outer
    [running] = seen
    assert running is not None and running is not outer


async def test_an_exception_in_the_first_step_cancels_the_nursery(begins_at_once: bool) -> None:
    worker = Worker()

    async def fail() -> None:
        raise ValueError("broken")

    with pytest.raises(ExceptionGroup) as raised:
        async with child_nursery() as nursery:
            nursery.start_at_once(worker)
            await worker.begun.wait()
            nursery.start_at_once(fail)
            assert nursery.cancel_called == begins_at_once
    assert raised.group_contains(ValueError, match="broken")
    assert worker.outcome == "cancelled"


async def test_a_task_that_cancels_its_nursery_in_its_first_step_is_cancelled_too(begins_at_once: bool) -> None:
    worker = Worker()

    async def cancel_all() -> None:
        nursery.cancel()
        await worker()

    async with child_nursery() as nursery:
        nursery.start_at_once(cancel_all)
    assert worker.outcome == "cancelled"


async def test_input_begins_a_task_at_once_unless_another_task_runs(kind: Kind, begins_at_once: bool) -> None:
    async with connected(kind) as pair, child_nursery() as nursery:
        worker = Worker()
        nursery.start_on_input(worker, pair.stream)
        if running_backend() == "asyncio":
            pair.stream.interrupt()  # by this task, whose step is not over
            assert not worker.begun.is_set()
        await worker.begun.wait()
        worker.may_end.set()
