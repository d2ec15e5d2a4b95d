"""Timeouts at the price of two dict operations.

A timeout kind has one fixed length, so whoever waits in it is ordered by age: one queue per kind and one sleeping
task for all of them, instead of a timer for each wait. Deadlines are exact.
"""

import itertools
import math
from collections.abc import Callable
from typing import Generic, TypeVar

import anyio

__all__ = ["NoTimeout", "Timeout"]

Waiter = TypeVar("Waiter")


class Timeout(Generic[Waiter]):
    """All waits of one kind. ``arm`` and ``disarm`` are plain calls; ``run`` is a task for the server's nursery.

    ``clock`` is the event loop's; the network has it as a plain function, which costs less than to ask anyio.
    """

    strikes = True

    def __init__(self, seconds: float, strike: Callable[[Waiter], None], clock: Callable[[], float]) -> None:
        self.seconds = seconds
        self._strike = strike
        self._clock = clock
        self._deadlines: dict[Waiter, float] = {}  # oldest first, because each entry is as long as the others
        self._armed: anyio.Event | None = None  # set for a runner that has nothing to wait for

    def arm(self, waiter: Waiter) -> None:
        """Strike ``waiter`` in ``seconds``, unless it is disarmed first. A waiter is armed once at a time."""
        self._deadlines[waiter] = self._clock() + self.seconds
        if self._armed is not None:
            self._armed.set()
            self._armed = None

    def disarm(self, waiter: Waiter) -> None:
        self._deadlines.pop(waiter, None)

    def restart(self, waiter: Waiter) -> None:
        """Let the time of an armed ``waiter`` begin anew."""
        if waiter in self._deadlines:
            self.disarm(waiter)
            self.arm(waiter)

    async def run(self) -> None:
        """Strike whoever's deadline has passed; never returns."""
        while True:
            self._strike_due()
            if self._deadlines:
                await anyio.sleep_until(next(iter(self._deadlines.values())))
            else:
                self._armed = anyio.Event()
                await self._armed.wait()

    def _strike_due(self) -> None:
        now = self._clock()
        due = list(itertools.takewhile(lambda waiter: self._deadlines[waiter] <= now, self._deadlines))
        for waiter in due:
            del self._deadlines[waiter]
        for waiter in due:
            self._strike(waiter)


class NoTimeout(Timeout[Waiter]):
    """A timeout that is switched off."""

    strikes = False

    def __init__(self) -> None:
        super().__init__(math.inf, lambda waiter: None, lambda: 0.0)

    def arm(self, waiter: Waiter) -> None:
        """Nobody's time will come."""

    async def run(self) -> None:
        """Nothing to do."""
