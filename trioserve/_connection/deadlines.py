"""Waits with a moment of their own each, unlike those of ``timeouts``, which are all of one length."""

import heapq
import itertools
import math
from collections.abc import Callable
from typing import Final

import anyio

from trioserve._connection.timeouts import Waiter, strike

__all__ = ["Deadlines"]

FORGOTTEN: Final = 64  # moments that were given up may lie in the queue until there are so many, and most are


class Deadlines:
    """One queue and one task, ``run``, for all of a server. The other methods are plain calls."""

    kind = "deadline"

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._moments: dict[Waiter, float] = {}
        self._queue: list[tuple[float, int, Waiter]] = []  # with what ``_moments`` does not know any more
        self._numbers = itertools.count()  # of two equal moments the first one comes first
        self._wakes_at = math.inf
        self._is_earlier = anyio.Event()

    def of(self, waiter: Waiter) -> float:
        """Its moment on the clock, ``math.inf`` without one."""
        return self._moments.get(waiter, math.inf)

    def set(self, waiter: Waiter, moment: float) -> None:
        """Strike ``waiter`` then, and not at its moment of before; never with ``math.inf``."""
        if moment == math.inf:
            self.forget(waiter)
            return
        self._moments[waiter] = moment
        heapq.heappush(self._queue, (moment, next(self._numbers), waiter))
        if len(self._queue) > FORGOTTEN + 2 * len(self._moments):
            self._queue = [entry for entry in self._queue if self._is_valid(entry)]
            heapq.heapify(self._queue)
        if moment < self._wakes_at:
            self._is_earlier.set()

    def forget(self, waiter: Waiter) -> None:
        """It has no moment any more."""
        self._moments.pop(waiter, None)

    async def run(self) -> None:
        """Strike whoever's moment has come; never returns."""
        while True:
            self._strike_due()
            self._wakes_at = self._queue[0][0] if self._queue else math.inf
            self._is_earlier = anyio.Event()
            with anyio.move_on_at(self._wakes_at):
                await self._is_earlier.wait()

    def _strike_due(self) -> None:
        now = self._clock()
        while self._queue and self._queue[0][0] <= now:
            entry = heapq.heappop(self._queue)
            if self._is_valid(entry):
                waiter = entry[2]
                self.forget(waiter)
                strike(waiter, self.kind)

    def _is_valid(self, entry: tuple[float, int, Waiter]) -> bool:
        moment, _, waiter = entry
        return self._moments.get(waiter) == moment
