"""Nurseries in nurseries: how they end, and who is told."""

import anyio
import anyio.lowlevel
import pytest
import sniffio

from tests.helpers.nurseries import NURSERY_KINDS, Worker, child_nursery
from tests.helpers.stream_pairs import Kind, skip_if_missing
from trioserve._streams import CancellableNursery, Nursery, open_network


@pytest.fixture(params=NURSERY_KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    skip_if_missing(kind)
    return kind


async def test_it_ends_when_its_function_and_all_its_tasks_have() -> None:
    workers = [Worker(), Worker(), Worker()]

    async def connection(nursery: Nursery) -> None:
        nursery.start_inside(workers[0])
        nursery.start_soon(workers[1])
        nursery.start_nursery(grandchild)

    async def grandchild(nursery: Nursery) -> None:
        nursery.start_inside(workers[2])

    with anyio.fail_after(10):
        async with open_network().open_nursery() as outer:
            outer.start_nursery(connection)
            for worker in workers:
                await worker.begun.wait()
                await anyio.lowlevel.checkpoint()
                worker.may_end.set()
    assert [worker.outcome for worker in workers] == ["ended"] * 3


async def test_a_relay_of_tasks_goes_on_after_its_function() -> None:
    turns: list[int] = []

    async def connection(nursery: Nursery) -> None:
        async def turn(number: int) -> None:
            await anyio.lowlevel.checkpoint()
            turns.append(number)
            if number < 5:
                nursery.start_inside(turn, number + 1)

        nursery.start_inside(turn, 0)

    async with open_network().open_nursery() as outer:
        outer.start_nursery(connection)
    assert turns == list(range(6))


async def test_it_is_cancelled_with_all_that_is_in_it_and_nobody_else() -> None:
    workers = [Worker(), Worker(), Worker(), Worker()]
    other = Worker()

    async def connection(nursery: Nursery) -> None:
        nursery.start_inside(workers[0])
        nursery.start_soon(workers[1])
        nursery.start_nursery(grandchild)
        await workers[3]()

    async def grandchild(nursery: Nursery) -> None:
        nursery.start_inside(workers[2])

    async with open_network().open_nursery() as outer:
        outer.start_soon(other)
        child = outer.start_nursery(connection)
        for worker in workers:
            await worker.begun.wait()
        assert not child.cancel_called
        child.cancel()
        child.cancel()
        assert child.cancel_called
        with anyio.fail_after(10):
            while not all(worker.outcome for worker in workers):
                await anyio.lowlevel.checkpoint()
        assert [worker.outcome for worker in workers] == ["cancelled"] * 4
        assert not other.outcome
        other.may_end.set()
    assert other.outcome == "ended"


async def test_cancelled_before_it_begins_it_runs_its_first_step() -> None:
    worker, inside = Worker(), Worker()

    async def connection(nursery: Nursery) -> None:
        nursery.start_inside(inside)
        await worker()

    async with open_network().open_nursery() as outer:
        child = outer.start_nursery(connection)
        child.cancel()
        assert child.cancel_called
    assert (worker.outcome, inside.outcome) == ("cancelled", "cancelled")


async def test_before_it_has_begun_it_takes_no_tasks() -> None:
    async def connection(_: Nursery) -> None:
        """Nothing."""

    async with open_network().open_nursery() as outer:
        child = outer.start_nursery(connection)
        with pytest.raises(RuntimeError):
            child.start_soon(Worker())
        with pytest.raises(RuntimeError):
            child.start_inside(Worker())
        with pytest.raises(RuntimeError):
            child.start_nursery(connection)


async def test_a_task_that_cancels_its_own_nursery_is_cancelled() -> None:
    worker = Worker()

    async def end_it() -> None:
        child.cancel()
        await worker()

    async with open_network().open_nursery() as outer:

        async def connection(nursery: Nursery) -> None:
            nursery.start_inside(end_it)

        child = outer.start_nursery(connection)
    assert worker.outcome == "cancelled"


async def test_its_function_may_cancel_it() -> None:
    worker = Worker()

    async def connection(nursery: Nursery) -> None:
        nursery.start_inside(worker)
        await worker.begun.wait()
        child.cancel()

    async with open_network().open_nursery() as outer:
        child = outer.start_nursery(connection)
    assert worker.outcome == "cancelled"


@pytest.mark.parametrize("who", ["function", "task", "task inside", "grandchild"])
async def test_an_exception_in_it_comes_out_as_a_group_and_cancels_the_nurseries_around_it(who: str) -> None:
    worker, other = Worker(), Worker()

    async def fail() -> None:
        await worker.begun.wait()
        await other.begun.wait()
        raise ValueError("broken")

    async def failing_grandchild(_: Nursery) -> None:
        await fail()

    async def connection(nursery: Nursery) -> None:
        nursery.start_inside(worker)
        if who == "function":
            await fail()
        elif who == "task":
            nursery.start_soon(fail)
        elif who == "task inside":
            nursery.start_inside(fail)
        else:
            nursery.start_nursery(failing_grandchild)

    child: CancellableNursery
    with pytest.raises(ExceptionGroup) as raised:
        async with open_network().open_nursery() as outer:
            outer.start_inside(other)
            child = outer.start_nursery(connection)
    assert raised.group_contains(ValueError, match="broken")
    assert child.cancel_called
    assert (worker.outcome, other.outcome) == ("cancelled", "cancelled")


@pytest.mark.parametrize("who", ["function", "task", "task inside"])
async def test_an_exception_that_is_taken_goes_no_further(who: str) -> None:
    worker, other = Worker(), Worker()
    errors: list[Exception] = []
    told: list[str] = []

    async def fail() -> None:
        await worker.begun.wait()
        raise ValueError("broken")

    async def connection(nursery: Nursery) -> None:
        nursery.start_inside(worker)
        if who == "function":
            await fail()
        elif who == "task":
            nursery.start_soon(fail)
        else:
            nursery.start_inside(fail)

    def on_error(error: Exception) -> None:
        errors.append(error)
        told.append("error")

    async with open_network().open_nursery() as outer:
        scope = outer.start_soon(other)
        child = outer.start_nursery(connection, on_error=on_error, on_end=lambda: told.append("end"))
        while not told:
            await anyio.lowlevel.checkpoint()
        assert child.cancel_called
        assert worker.outcome == "cancelled"
        assert other.outcome != "cancelled"
        scope.cancel()
    [error] = errors
    assert isinstance(error, ExceptionGroup)
    assert error.subgroup(ValueError) is not None
    assert told == ["error", "end"]


async def test_an_order_to_stop_is_not_taken() -> None:
    async def connection(nursery: Nursery) -> None:
        raise KeyboardInterrupt

    errors: list[Exception] = []
    with pytest.raises(BaseException) as raised:  # a group, or what is in it
        async with open_network().open_nursery() as outer:
            outer.start_nursery(connection, on_error=errors.append)
    assert "KeyboardInterrupt" in repr(raised.value)
    assert not errors


async def test_a_cancellation_is_no_error() -> None:
    worker = Worker()
    errors: list[Exception] = []

    async def connection(nursery: Nursery) -> None:
        nursery.start_inside(worker)

    async with open_network().open_nursery() as outer:
        child = outer.start_nursery(connection, on_error=errors.append)
        await worker.begun.wait()
        child.cancel()
    assert worker.outcome == "cancelled"
    assert not errors


async def test_exceptions_of_function_and_task_come_out_together() -> None:
    async def fail(message: str) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError(message)

    async def connection(nursery: Nursery) -> None:
        nursery.start_inside(fail, "task")
        await fail("function")

    with pytest.raises(ExceptionGroup) as raised:
        async with open_network().open_nursery() as outer:
            child = outer.start_nursery(connection)
            await anyio.sleep(0.01)
            child.cancel()
    assert raised.group_contains(ValueError, match="task")
    assert raised.group_contains(ValueError, match="function")


async def test_a_cancellation_from_outside_reaches_the_nurseries_in_it() -> None:
    workers = [Worker(), Worker(), Worker()]

    async def connection(nursery: Nursery) -> None:
        nursery.start_inside(workers[0])
        nursery.start_nursery(grandchild)
        await workers[1]()

    async def grandchild(nursery: Nursery) -> None:
        nursery.start_inside(workers[2])

    with anyio.CancelScope() as outside:
        async with open_network().open_nursery() as outer:
            outer.start_nursery(connection)
            for worker in workers:
                await worker.begun.wait()
            outside.cancel()
    assert outside.cancelled_caught
    assert [worker.outcome for worker in workers] == ["cancelled"] * 3


async def test_a_nursery_that_is_started_in_a_cancelled_one_is_born_cancelled() -> None:
    worker = Worker()

    async def late(_: Nursery) -> None:
        await worker()

    async def connection(nursery: Nursery) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            nursery.start_nursery(late)

    async with open_network().open_nursery() as outer:
        child = outer.start_nursery(connection)
        await anyio.sleep(0.01)
        child.cancel()
    assert worker.outcome == "cancelled"


async def test_what_its_tasks_have_shielded_is_waited_for() -> None:
    said_goodbye = anyio.Event()

    async def polite() -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.05)
            said_goodbye.set()

    async with child_nursery() as child:
        child.start_inside(polite)
        await anyio.sleep(0.01)
        child.cancel()
    assert said_goodbye.is_set()


async def test_tasks_can_be_recognised() -> None:
    async def connection(nursery: Nursery) -> None:
        nursery.start_inside(anyio.sleep_forever)
        await anyio.sleep_forever()

    async with open_network().open_nursery() as outer:
        child = outer.start_nursery(connection, name="connection of a client")
        unnamed = outer.start_nursery(connection)
        await anyio.sleep(0.01)
        names = [task.name or "" for task in anyio.get_running_tasks()]
        inside = "sleep_forever" if sniffio.current_async_library() == "trio" else "connection of a client"
        assert "connection of a client" in names
        assert sum(inside in name for name in names) >= 2
        assert any("test_tasks_can_be_recognised.<locals>.connection" in name for name in names)
        child.cancel()
        unnamed.cancel()
