"""The nursery of each backend, in which connections live."""

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.stream_pairs import PLAIN_KINDS, Kind, skip_if_missing
from trioserve._streams import open_network


@pytest.fixture(params=[kind for kind in PLAIN_KINDS if kind.name in ("trio-edge", "asyncio", "uvloop")], ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    skip_if_missing(kind)
    return kind


class Worker:
    """A task that waits until it is told to end, or is cancelled."""

    def __init__(self) -> None:
        self.begun = anyio.Event()
        self.may_end = anyio.Event()
        self.outcome = ""

    async def __call__(self, *names: str) -> None:
        self.begun.set()
        try:
            await self.may_end.wait()
            self.outcome = "".join(names) or "ended"
        except anyio.get_cancelled_exc_class():
            self.outcome = "cancelled"
            raise


async def test_a_task_gets_its_arguments_and_is_waited_for() -> None:
    worker = Worker()
    async with open_network().open_nursery() as nursery:
        nursery.start_soon(worker, "a", "b")
        await worker.begun.wait()
        worker.may_end.set()
    assert worker.outcome == "ab"


async def test_leaving_waits_for_all() -> None:
    workers = [Worker() for _ in range(3)]

    async def end_them_later() -> None:
        for worker in workers:
            await worker.begun.wait()
            await anyio.lowlevel.checkpoint()
            worker.may_end.set()

    async with open_network().open_nursery() as nursery:
        nursery.start_soon(end_them_later)
        for worker in workers:
            nursery.start_soon(worker)
    assert [worker.outcome for worker in workers] == ["ended"] * 3


async def test_a_task_can_be_started_by_another_task_while_the_nursery_is_left() -> None:
    worker = Worker()
    async with open_network().open_nursery() as nursery:

        async def start_it() -> None:
            await anyio.lowlevel.checkpoint()
            worker.may_end.set()
            nursery.start_soon(worker)

        nursery.start_soon(start_it)
    assert worker.outcome == "ended"


async def test_a_task_is_cancelled_by_itself() -> None:
    one, other = Worker(), Worker()
    async with open_network().open_nursery() as nursery:
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


async def test_a_task_that_is_cancelled_before_it_begins_runs_its_first_step() -> None:
    worker = Worker()
    async with open_network().open_nursery() as nursery:
        nursery.start_soon(worker).cancel()
    assert worker.begun.is_set()
    assert worker.outcome == "cancelled"


async def test_a_cancellation_after_the_end_is_nothing() -> None:
    worker = Worker()
    worker.may_end.set()
    async with open_network().open_nursery() as nursery:
        task = nursery.start_soon(worker)
    task.cancel()
    assert worker.outcome == "ended"


async def test_who_swallows_a_cancellation_is_told_again() -> None:
    told = 0

    async def stubborn() -> None:
        nonlocal told
        while told < 3:
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                told += 1

    async with open_network().open_nursery() as nursery:
        task = nursery.start_soon(stubborn)
        await anyio.lowlevel.checkpoint()
        task.cancel()
    assert told == 3


async def test_a_shielded_block_in_a_cancelled_task_comes_to_its_end() -> None:
    worker = Worker()
    said_goodbye = anyio.Event()

    async def polite() -> None:
        try:
            await worker()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.001)
                said_goodbye.set()

    async with open_network().open_nursery() as nursery:
        task = nursery.start_soon(polite)
        await worker.begun.wait()
        task.cancel()
    assert worker.outcome == "cancelled"
    assert said_goodbye.is_set()


async def test_an_exception_in_one_cancels_the_others() -> None:
    worker = Worker()

    async def fail() -> None:
        await worker.begun.wait()
        raise ValueError("broken")

    with pytest.raises(ExceptionGroup) as caught:
        async with open_network().open_nursery() as nursery:
            nursery.start_soon(worker)
            nursery.start_soon(fail)
    assert caught.group_contains(ValueError, match="broken")
    assert worker.outcome == "cancelled"


async def test_a_cancellation_from_outside_ends_all() -> None:
    workers = [Worker(), Worker()]
    with anyio.CancelScope() as cancel_scope:
        async with open_network().open_nursery() as nursery:
            for worker in workers:
                nursery.start_soon(worker)
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


async def test_a_cancellation_from_outside_is_said_again_too() -> None:
    refuser = Refuser()
    with anyio.fail_after(10) as patience, anyio.CancelScope() as outside:
        async with open_network().open_nursery() as nursery:
            nursery.start_soon(refuser)
            await refuser.begun.wait()
            outside.cancel()
    assert outside.cancelled_caught and not patience.cancel_called
    assert refuser.refusals == 2


async def test_an_exception_where_the_nursery_is_open_is_said_again_too() -> None:
    refuser = Refuser()
    with anyio.fail_after(10) as patience, pytest.raises(BaseExceptionGroup) as raised:
        async with open_network().open_nursery() as nursery:
            nursery.start_soon(refuser)
            await refuser.begun.wait()
            raise ValueError("a bug")
    assert not patience.cancel_called
    assert raised.group_contains(ValueError, match="a bug")
    assert refuser.refusals == 2
