"""The nursery of each backend, in which connections live, and the nurseries in it."""

import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.nurseries import NURSERY_KINDS, OPENINGS, WAYS, Opening, Start, Worker, one_way
from tests.helpers.stream_pairs import Kind, skip_if_missing
from trioserve._streams import Nursery


@pytest.fixture(params=NURSERY_KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    skip_if_missing(kind)
    return kind


@pytest.fixture(params=OPENINGS)
def opened(request: pytest.FixtureRequest) -> Opening:
    return OPENINGS[request.param]


@pytest.fixture(params=WAYS)
def start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Start:
    return one_way(request.param, monkeypatch)


async def test_a_task_gets_its_arguments_and_is_waited_for(opened: Opening, start: Start) -> None:
    worker = Worker()
    async with opened() as nursery:
        start(nursery, worker, "a", "b")
        await worker.begun.wait()
        worker.may_end.set()
    assert worker.outcome == "ab"


async def test_leaving_waits_for_all(opened: Opening, start: Start) -> None:
    workers = [Worker() for _ in range(3)]

    async def end_them_later() -> None:
        for worker in workers:
            await worker.begun.wait()
            await anyio.lowlevel.checkpoint()
            worker.may_end.set()

    async with opened() as nursery:
        start(nursery, end_them_later)
        for worker in workers:
            start(nursery, worker)
    assert [worker.outcome for worker in workers] == ["ended"] * 3


async def test_a_task_can_be_started_by_another_task_while_the_nursery_is_left(opened: Opening, start: Start) -> None:
    worker = Worker()
    async with opened() as nursery:

        async def start_it() -> None:
            await anyio.lowlevel.checkpoint()
            worker.may_end.set()
            start(nursery, worker)

        start(nursery, start_it)
    assert worker.outcome == "ended"


async def test_a_task_is_cancelled_by_itself(opened: Opening) -> None:
    one, other = Worker(), Worker()
    async with opened() as nursery:
        task = nursery.start_soon(one)
        nursery.start_soon(other)
        await one.begun.wait()
        await other.begun.wait()
        task.cancel()
        task.cancel()
        with anyio.fail_after(10):
            while not one.outcome:
                await anyio.lowlevel.checkpoint()
        assert (one.outcome, other.outcome) == ("cancelled", "")
        other.may_end.set()
    assert other.outcome == "ended"


async def test_a_task_that_is_cancelled_before_it_begins_runs_its_first_step(opened: Opening) -> None:
    worker = Worker()
    async with opened() as nursery:
        nursery.start_soon(worker).cancel()
    assert worker.begun.is_set()
    assert worker.outcome == "cancelled"


async def test_a_cancellation_after_the_end_is_nothing(opened: Opening) -> None:
    worker = Worker()
    worker.may_end.set()
    async with opened() as nursery:
        task = nursery.start_soon(worker)
    task.cancel()
    assert worker.outcome == "ended"


async def test_who_swallows_a_cancellation_is_told_again(opened: Opening) -> None:
    told = 0

    async def stubborn() -> None:
        nonlocal told
        while told < 3:
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                told += 1

    async with opened() as nursery:
        task = nursery.start_soon(stubborn)
        await anyio.lowlevel.checkpoint()
        task.cancel()
    assert told == 3


async def test_a_shielded_block_in_a_cancelled_task_comes_to_its_end(opened: Opening) -> None:
    worker = Worker()
    said_goodbye = anyio.Event()

    async def polite() -> None:
        try:
            await worker()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.001)
                said_goodbye.set()

    async with opened() as nursery:
        task = nursery.start_soon(polite)
        await worker.begun.wait()
        task.cancel()
    assert worker.outcome == "cancelled"
    assert said_goodbye.is_set()


async def test_an_exception_in_one_cancels_the_others(opened: Opening, start: Start) -> None:
    worker = Worker()

    async def fail() -> None:
        await worker.begun.wait()
        raise ValueError("broken")

    with pytest.raises(ExceptionGroup) as caught:
        async with opened() as nursery:
            start(nursery, worker)
            start(nursery, fail)
    assert caught.group_contains(ValueError, match="broken")
    assert worker.outcome == "cancelled"


async def test_a_cancellation_from_outside_ends_all(opened: Opening, start: Start) -> None:
    workers = [Worker(), Worker()]
    with anyio.CancelScope() as cancel_scope:
        async with opened() as nursery:
            for worker in workers:
                start(nursery, worker)
                await worker.begun.wait()
            cancel_scope.cancel()
    assert cancel_scope.cancelled_caught
    assert [worker.outcome for worker in workers] == ["cancelled"] * 2


class Refuser:
    """A task that ignores its cancellation twice."""

    def __init__(self) -> None:
        self.begun = anyio.Event()
        self.refusals = 0

    async def __call__(self) -> None:
        self.begun.set()
        while self.refusals < 2:
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                self.refusals += 1
        await anyio.sleep_forever()


async def test_a_cancellation_from_outside_is_said_again_too(opened: Opening, start: Start) -> None:
    refuser = Refuser()
    with anyio.fail_after(10) as patience, anyio.CancelScope() as outside:
        async with opened() as nursery:
            start(nursery, refuser)
            await refuser.begun.wait()
            outside.cancel()
    assert outside.cancelled_caught and not patience.cancel_called
    assert refuser.refusals == 2


async def test_an_exception_where_the_nursery_is_open_is_said_again_too(opened: Opening, start: Start) -> None:
    refuser = Refuser()
    with anyio.fail_after(10) as patience, pytest.raises(BaseExceptionGroup) as raised:
        async with opened() as nursery:
            start(nursery, refuser)
            await refuser.begun.wait()
            raise ValueError("a bug")
    assert not patience.cancel_called
    assert raised.group_contains(ValueError, match="a bug")
    assert refuser.refusals == 2


async def test_an_exception_in_one_is_said_again_to_the_others(opened: Opening, start: Start) -> None:
    refuser = Refuser()

    async def fail() -> None:
        await refuser.begun.wait()
        raise ValueError("broken")

    with anyio.fail_after(10) as patience, pytest.raises(BaseExceptionGroup) as raised:
        async with opened() as nursery:
            start(nursery, refuser)
            start(nursery, fail)
    assert not patience.cancel_called
    assert raised.group_contains(ValueError, match="broken")
    assert refuser.refusals == 2


async def test_an_exception_in_one_cancels_where_the_nursery_is_open(opened: Opening, start: Start) -> None:
    async def fail() -> None:
        raise ValueError("broken")

    told = 0
    with pytest.raises(BaseExceptionGroup) as raised:
        async with opened() as nursery:
            start(nursery, fail)
            while told < 3:
                try:
                    await anyio.sleep_forever()
                except anyio.get_cancelled_exc_class():
                    told += 1
    assert raised.group_contains(ValueError, match="broken")


CAUSES = ("from outside", "where it is open", "in a task")


class Cause:
    """Ends a nursery in one of the ways there are."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.strikes = anyio.Event()

    async def fail(self) -> None:
        await self.strikes.wait()
        raise ValueError("the cause")

    async def end(self, nursery: Nursery, outside: anyio.CancelScope) -> None:
        if self.name == "from outside":
            outside.cancel()
        elif self.name == "where it is open":
            raise ValueError("the cause")
        else:
            nursery.start_soon(self.fail)
            self.strikes.set()
        await anyio.sleep_forever()


async def run_until_it_is_ended(
    cause: Cause, task: Callable[[], Coroutine[Any, Any, None]], opened: Opening, start: Start
) -> None:
    """Start ``task``, let it run until it waits, then end the nursery."""
    with contextlib.suppress(ExceptionGroup), anyio.CancelScope() as outside:
        async with opened() as nursery:
            start(nursery, task)
            await anyio.sleep(0.01)
            await cause.end(nursery, outside)


@pytest.mark.parametrize("name", CAUSES)
async def test_a_shielded_block_comes_to_its_end_whatever_ends_the_nursery(
    name: str, opened: Opening, start: Start
) -> None:
    said_goodbye = anyio.Event()

    async def polite() -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.05)
            said_goodbye.set()
        await anyio.sleep_forever()

    await run_until_it_is_ended(Cause(name), polite, opened, start)
    assert said_goodbye.is_set()


@pytest.mark.parametrize("name", CAUSES)
async def test_a_task_that_is_started_in_a_cancelled_nursery_is_born_cancelled(
    name: str, opened: Opening, start: Start
) -> None:
    worker = Worker()
    nurseries: list[Nursery] = []

    async def start_it_in_the_end() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            start(nurseries[0], worker)

    with contextlib.suppress(ExceptionGroup), anyio.CancelScope() as outside:
        async with opened() as nursery:
            nurseries.append(nursery)
            start(nursery, start_it_in_the_end)
            await anyio.sleep(0.01)
            await Cause(name).end(nursery, outside)
    assert worker.outcome == "cancelled"


async def test_nobody_can_be_started_after_the_end(opened: Opening, start: Start) -> None:
    async with opened() as nursery:
        pass
    with pytest.raises(RuntimeError):
        start(nursery, Worker())


async def test_exceptions_of_several_tasks_are_raised_together(opened: Opening, start: Start) -> None:
    async def fail(message: str) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError(message)

    with anyio.CancelScope() as outside, pytest.raises(BaseExceptionGroup) as raised:
        async with opened() as nursery:
            for message in ("one", "two"):
                start(nursery, fail, message)
            await anyio.sleep(0.01)
            outside.cancel()
    for message in ("one", "two"):
        assert raised.group_contains(ValueError, match=message)
