"""``Timeout``: exact deadlines for any number of waits, at the price of a dict."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from tests.helpers.virtual_clock import settled
from trioserve._connection import NoTimeout, Timeout


class Queue:
    """A running ``Timeout`` of 10 s that notes whom it struck, and when."""

    def __init__(self) -> None:
        self.struck: list[tuple[str, float]] = []
        self.began = anyio.current_time()
        self.timeout: Timeout[str] = Timeout(10, self.strike, anyio.current_time)

    def strike(self, waiter: str) -> None:
        self.struck.append((waiter, round(anyio.current_time() - self.began, 6)))


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
        queue.timeout.arm("a")
        await anyio.sleep(100)
    assert queue.struck == [("a", 13)]


async def test_it_strikes_each_in_its_turn() -> None:
    async with running_queue() as queue:
        for waiter in "abc":
            queue.timeout.arm(waiter)
            await anyio.sleep(2.5)
        await anyio.sleep(100)
    assert queue.struck == [("a", 10), ("b", 12.5), ("c", 15)]


async def test_it_strikes_many_of_the_same_age_together() -> None:
    async with running_queue() as queue:
        for waiter in "abc":
            queue.timeout.arm(waiter)
        await anyio.sleep(100)
    assert queue.struck == [("a", 10), ("b", 10), ("c", 10)]


async def test_who_is_disarmed_in_time_is_spared() -> None:
    async with running_queue() as queue:
        for waiter in "abc":
            queue.timeout.arm(waiter)
            await anyio.sleep(1)
        queue.timeout.disarm("a")
        queue.timeout.disarm("c")
        await anyio.sleep(100)
    assert queue.struck == [("b", 11)]


async def test_who_is_armed_again_gets_the_whole_time_again() -> None:
    async with running_queue() as queue:
        queue.timeout.arm("a")
        await anyio.sleep(1)
        queue.timeout.arm("b")
        await anyio.sleep(7)
        queue.timeout.disarm("a")
        queue.timeout.arm("a")
        await anyio.sleep(100)
    assert queue.struck == [("b", 11), ("a", 18)]


async def test_it_wakes_up_after_it_was_empty() -> None:
    async with running_queue() as queue:
        for _ in range(3):
            queue.timeout.arm("a")
            await anyio.sleep(50)
    assert queue.struck == [("a", 10), ("a", 60), ("a", 110)]


async def test_who_is_disarmed_while_nobody_waits_is_no_error() -> None:
    async with running_queue() as queue:
        queue.timeout.disarm("a")
        queue.timeout.arm("a")
        queue.timeout.disarm("a")
        queue.timeout.disarm("a")
        await anyio.sleep(100)
    assert queue.struck == []


async def test_a_strike_may_arm_its_waiter_again() -> None:
    async with running_queue() as queue:

        def strike(waiter: str) -> None:
            queue.strike(waiter)
            queue.timeout.arm(waiter)

        queue.timeout._strike = strike
        queue.timeout.arm("a")
        await anyio.sleep(35)
    assert queue.struck == [("a", 10), ("a", 20), ("a", 30)]


async def test_what_is_armed_before_it_runs_is_struck_too() -> None:
    queue = Queue()
    queue.timeout.arm("a")
    async with anyio.create_task_group() as running:
        await anyio.sleep(15)
        running.start_soon(queue.timeout.run)
        await settled()
        assert queue.struck == [("a", 15)]
        running.cancel_scope.cancel()


async def test_a_deadline_that_passes_while_it_looks_is_no_error() -> None:
    began = anyio.current_time()
    looks = iter(range(1000))
    struck: list[str] = []
    timeout: Timeout[str] = Timeout(1.5, struck.append, lambda: began + next(looks))  # each look takes a second
    timeout.arm("a")
    async with anyio.create_task_group() as running:
        running.start_soon(timeout.run)
        timeout.arm("b")
        await anyio.sleep(10)
        running.cancel_scope.cancel()
    assert struck == ["a", "b"]


async def test_no_timeout_never_strikes() -> None:
    timeout: NoTimeout[str] = NoTimeout()
    timeout.arm("a")
    with anyio.fail_after(1):
        await timeout.run()
    timeout.disarm("a")


@pytest.mark.parametrize("count", [10_000])
async def test_many_waits_cost_little(count: int) -> None:
    async with running_queue() as queue:
        for waiter in range(count):
            queue.timeout.arm(str(waiter))
        for waiter in range(0, count, 2):
            queue.timeout.disarm(str(waiter))
        await anyio.sleep(11)
    assert len(queue.struck) == count // 2
