"""Waits with a moment of their own each: what is struck, when, and what a moment that was given up leaves behind."""

import math
import random

import anyio
import pytest

from trioserve._connection import Deadlines
from trioserve._connection.deadlines import FORGOTTEN


class Waiter:
    def __init__(self, strikes: list[tuple[float, "Waiter"]]) -> None:
        self.strikes = strikes

    def on_timeout(self, kind: str) -> None:
        assert kind == "deadline"
        self.strikes.append((anyio.current_time(), self))


async def test_everybody_is_struck_at_the_own_moment_and_once() -> None:
    strikes: list[tuple[float, Waiter]] = []
    waiters = [Waiter(strikes) for _ in range(20)]
    async with anyio.create_task_group() as nursery:
        deadlines = Deadlines(anyio.current_time)
        nursery.start_soon(deadlines.run)
        began = anyio.current_time()
        moments = [began + number for number in range(20)]
        random.Random(14).shuffle(moments)
        for waiter, moment in zip(waiters, moments, strict=True):
            deadlines.set(waiter, moment)
            assert deadlines.of(waiter) == moment
        await anyio.sleep(100)
        nursery.cancel_scope.cancel()
    assert strikes == sorted(zip(moments, waiters, strict=True), key=lambda strike: strike[0])
    assert all(deadlines.of(waiter) == math.inf for waiter in waiters)


async def test_an_earlier_moment_wakes_the_task_that_sleeps_until_a_later_one() -> None:
    strikes: list[tuple[float, Waiter]] = []
    late, early, past = Waiter(strikes), Waiter(strikes), Waiter(strikes)
    async with anyio.create_task_group() as nursery:
        deadlines = Deadlines(anyio.current_time)
        nursery.start_soon(deadlines.run)
        began = anyio.current_time()
        deadlines.set(late, began + 60)
        await anyio.sleep(10)
        deadlines.set(early, began + 20)
        deadlines.set(past, began + 5)
        await anyio.sleep(60)
        nursery.cancel_scope.cancel()
    assert strikes == [(began + 10, past), (began + 20, early), (began + 60, late)]


async def test_moments_that_were_moved_or_given_up_do_not_strike() -> None:
    strikes: list[tuple[float, Waiter]] = []
    moved, given_up, for_ever = Waiter(strikes), Waiter(strikes), Waiter(strikes)
    async with anyio.create_task_group() as nursery:
        deadlines = Deadlines(anyio.current_time)
        nursery.start_soon(deadlines.run)
        began = anyio.current_time()
        for waiter in (moved, given_up, for_ever):
            deadlines.set(waiter, began + 10)
        deadlines.set(moved, began + 30)
        deadlines.forget(given_up)
        deadlines.set(for_ever, math.inf)
        await anyio.sleep(100)
        nursery.cancel_scope.cancel()
    assert strikes == [(began + 30, moved)]


async def test_a_waiter_that_moves_its_moment_again_and_again_takes_no_more_room() -> None:
    strikes: list[tuple[float, Waiter]] = []
    waiter = Waiter(strikes)
    deadlines = Deadlines(anyio.current_time)
    for seconds in range(10 * FORGOTTEN):
        deadlines.set(waiter, 3600.0 + seconds)
    assert len(deadlines._queue) <= FORGOTTEN + 2
    assert deadlines.of(waiter) == 3600 + 10 * FORGOTTEN - 1


async def test_a_bug_in_one_strike_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Waiter):
        def on_timeout(self, kind: str) -> None:
            raise NotImplementedError

    strikes: list[tuple[float, Waiter]] = []
    async with anyio.create_task_group() as nursery:
        deadlines = Deadlines(anyio.current_time)
        nursery.start_soon(deadlines.run)
        deadlines.set(Broken(strikes), anyio.current_time() + 1)
        deadlines.set(Waiter(strikes), anyio.current_time() + 1)
        await anyio.sleep(2)
        nursery.cancel_scope.cancel()
    assert len(strikes) == 1
    assert "Internal error when a deadline timeout struck" in caplog.text
