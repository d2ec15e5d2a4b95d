"""``Timeout``: exact deadlines for any number of waits, at the price of a dict."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from trioserve._connection import NoTimeout, Timeout
from trioserve.testing import settled


class Queue:
    """A running ``Timeout`` of 10 s, its waiters, and what they noted when they were struck."""

    def __init__(self) -> None:
        self.struck: list[tuple[str, float]] = []
        self.began = anyio.current_time()
        self.timeout = Timeout("test", 10, anyio.current_time)
        self.waiters: dict[str, Waiter] = {}

    def arm(self, name: str) -> None:
        self.timeout.arm(self.waiters.setdefault(name, Waiter(name, self)))

    def disarm(self, name: str) -> None:
        self.timeout.disarm(self.waiters.setdefault(name, Waiter(name, self)))

    def restart(self, name: str) -> None:
        self.timeout.restart(self.waiters.setdefault(name, Waiter(name, self)))


class Waiter:
    """Notes the moment."""

    def __init__(self, name: str, queue: Queue) -> None:
        self.name = name
        self.queue = queue

    def on_timeout(self, kind: str) -> None:
        assert kind == "test"
        self.queue.struck.append((self.name, round(anyio.current_time() - self.queue.began, 6)))


class ArmsAgain(Waiter):
    def on_timeout(self, kind: str) -> None:
        super().on_timeout(kind)
        self.queue.timeout.arm(self)


class Fails(Waiter):
    def on_timeout(self, kind: str) -> None:
        super().on_timeout(kind)
        raise ZeroDivisionError(self.name)


@asynccontextmanager
async def running_queue() -> AsyncIterator[Queue]:
    queue = Queue()
    async with anyio.create_task_group() as running:
        running.start_soon(queue.timeout.run)
        yield queue
        running.cancel_scope.cancel()


async def test_it_strikes_exactly_after_its_length() -> None:
    async with running_queue() as queue:
        await anyio.sleep(3)
        queue.arm("a")
        await anyio.sleep(100)
    assert queue.struck == [("a", 13)]


async def test_it_strikes_each_in_its_turn() -> None:
    async with running_queue() as queue:
        for waiter in "abc":
            queue.arm(waiter)
            await anyio.sleep(2.5)
        await anyio.sleep(100)
    assert queue.struck == [("a", 10), ("b", 12.5), ("c", 15)]


async def test_it_strikes_many_of_the_same_age_together() -> None:
    async with running_queue() as queue:
        for waiter in "abc":
            queue.arm(waiter)
        await anyio.sleep(100)
    assert queue.struck == [("a", 10), ("b", 10), ("c", 10)]


async def test_who_is_disarmed_in_time_is_spared() -> None:
    async with running_queue() as queue:
        for waiter in "abc":
            queue.arm(waiter)
            await anyio.sleep(1)
        queue.disarm("a")
        queue.disarm("c")
        await anyio.sleep(100)
    assert queue.struck == [("b", 11)]


async def test_who_is_armed_again_gets_the_whole_time_again() -> None:
    async with running_queue() as queue:
        queue.arm("a")
        await anyio.sleep(1)
        queue.arm("b")
        await anyio.sleep(7)
        queue.disarm("a")
        queue.arm("a")
        await anyio.sleep(100)
    assert queue.struck == [("b", 11), ("a", 18)]


async def test_it_wakes_up_after_it_was_empty() -> None:
    async with running_queue() as queue:
        for _ in range(3):
            queue.arm("a")
            await anyio.sleep(50)
    assert queue.struck == [("a", 10), ("a", 60), ("a", 110)]


async def test_who_is_disarmed_while_nobody_waits_is_no_error() -> None:
    async with running_queue() as queue:
        queue.disarm("a")
        queue.arm("a")
        queue.disarm("a")
        queue.disarm("a")
        await anyio.sleep(100)
    assert queue.struck == []


async def test_who_is_restarted_gets_the_whole_time_again() -> None:
    async with running_queue() as queue:
        queue.arm("a")
        await anyio.sleep(1)
        queue.arm("b")
        await anyio.sleep(7)
        queue.restart("a")
        await anyio.sleep(100)
    assert queue.struck == [("b", 11), ("a", 18)]


async def test_who_is_not_armed_is_not_restarted() -> None:
    async with running_queue() as queue:
        queue.restart("a")
        await anyio.sleep(100)
    assert queue.struck == []


async def test_a_strike_may_arm_its_waiter_again() -> None:
    async with running_queue() as queue:
        queue.timeout.arm(ArmsAgain("a", queue))
        await anyio.sleep(35)
    assert queue.struck == [("a", 10), ("a", 20), ("a", 30)]


async def test_a_strike_that_fails_spares_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    async with running_queue() as queue:
        for waiter in (Fails("a", queue), Waiter("b", queue)):
            queue.timeout.arm(waiter)
        await anyio.sleep(50)
        queue.arm("c")
        await anyio.sleep(50)
    assert queue.struck == [("a", 10), ("b", 10), ("c", 60)]
    [record] = caplog.records
    assert record.getMessage() == "Internal error when a test timeout struck"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)


async def test_what_is_armed_before_it_runs_is_struck_too() -> None:
    queue = Queue()
    queue.arm("a")
    async with anyio.create_task_group() as running:
        await anyio.sleep(15)
        running.start_soon(queue.timeout.run)
        await settled()
        assert queue.struck == [("a", 15)]
        running.cancel_scope.cancel()


async def test_a_deadline_that_passes_while_it_looks_is_no_error() -> None:
    queue = Queue()
    looks = iter(range(1000))
    queue.timeout = Timeout("test", 1.5, lambda: queue.began + next(looks))  # each look takes a second
    queue.arm("a")
    async with anyio.create_task_group() as running:
        running.start_soon(queue.timeout.run)
        queue.arm("b")
        await anyio.sleep(10)
        running.cancel_scope.cancel()
    assert [name for name, _ in queue.struck] == ["a", "b"]


async def test_no_timeout_never_strikes() -> None:
    timeout = NoTimeout("test")
    waiter = Waiter("a", Queue())
    timeout.arm(waiter)
    with anyio.fail_after(1):
        await timeout.run()
    timeout.restart(waiter)
    timeout.disarm(waiter)
    assert not timeout.strikes
    assert waiter.queue.struck == []


@pytest.mark.parametrize("count", [10_000])
async def test_many_waits_cost_little(count: int) -> None:
    async with running_queue() as queue:
        for waiter in range(count):
            queue.arm(str(waiter))
        for waiter in range(0, count, 2):
            queue.disarm(str(waiter))
        await anyio.sleep(11)
    assert len(queue.struck) == count // 2
