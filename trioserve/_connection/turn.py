"""How long a task may go on without waiting, before it gives way to others.

By the clock, because what a byte costs depends on what a client makes of it, and on what the application does with it.
"""

from time import perf_counter
from typing import Final

import anyio.lowlevel

__all__ = ["TURN_SECONDS", "Turn"]

TURN_SECONDS: Final = 0.0005  # on trio a request waits for about five turns of each other connection


class Turn:
    """Of one task that finds its input there, or its output taken, each time that it looks."""

    __slots__ = ("_ends",)

    def __init__(self) -> None:
        self._ends = 0.0  # in ``perf_counter`` seconds; 0 until somebody asks

    def end(self) -> None:
        """The task waits, so others run anyway."""
        self._ends = 0.0

    def is_over(self) -> bool:
        """Others should run. The first time that somebody asks, the turn begins."""
        now = perf_counter()
        if self._ends:
            return now > self._ends
        self._ends = now + TURN_SECONDS
        return False

    async def give_way(self) -> None:
        """Let others run if the turn is over.

        When cancelled, that counts, too: whoever waits only for so long must not find it over again and again.
        """
        if self.is_over():
            try:
                await anyio.lowlevel.checkpoint()
            finally:
                self._ends = perf_counter() + TURN_SECONDS
