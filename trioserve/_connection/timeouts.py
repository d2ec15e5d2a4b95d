"""Timeouts at the price of two dict operations.

A timeout kind has one fixed length, so whoever waits in it is ordered by age: one queue per kind and one sleeping
task for all of them, instead of a timer for each wait. Deadlines are exact.
"""

import itertools
import logging
import math
from collections.abc import Callable
from typing import Protocol

import anyio

from trioserve._complaints import complain

__all__ = ["NoTimeout", "Timeout", "Waiter", "new_timeout", "option_of", "strike"]

log = logging.getLogger("trioserve")


def option_of(kind: str) -> str:
    """The option that sets a timeout of this kind: ``timeout_keep_alive`` for ``keep-alive``."""
    return "timeout_" + kind.replace("-", "_")


class Waiter(Protocol):
    """Who waits. One waiter may wait in several kinds at once, and says what each of them means."""

    def on_timeout(self, kind: str) -> None:
        """The time of this kind is over, and the waiter is no longer armed."""


def strike(waiter: Waiter, kind: str) -> None:
    """The boundary of our own bugs: one waiter's must not end the timeouts of the others."""
    try:
        waiter.on_timeout(kind)
    except Exception as exc:
        complain(log, "Internal error when a %s timeout struck", kind, exc_info=exc)


class Timeout:
    """All waits of one kind. ``arm`` and ``disarm`` are plain calls; ``run`` is a task for the server's nursery.

    ``clock`` is the event loop's; the network has it as a plain function, which costs less than to ask anyio.

    Attributes:
        strikes: it is switched on.
    """

    strikes = True

    def __init__(self, kind: str, seconds: float, clock: Callable[[], float]) -> None:
        self.kind = kind
        self.seconds = seconds
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

    def moment_of(self, waiter: Waiter) -> float:
        """When ``waiter`` is struck, ``math.inf`` if it is not armed."""
        return self._deadlines.get(waiter, math.inf)

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
            strike(waiter, self.kind)


class NoTimeout(Timeout):
    """A timeout that is switched off."""

    strikes = False

    def __init__(self, kind: str) -> None:
        super().__init__(kind, math.inf, lambda: 0.0)

    def arm(self, waiter: Waiter) -> None:
        """Nobody's time will come."""

    async def run(self) -> None:
        """Nothing to do."""


def new_timeout(kind: str, seconds: float | None, clock: Callable[[], float]) -> Timeout:
    """One of this kind, which never strikes where an option says ``None``."""
    return Timeout(kind, seconds, clock) if seconds is not None else NoTimeout(kind)
