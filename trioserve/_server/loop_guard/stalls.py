"""What is known and said of the times in which the event loop stood still. A thread calls it, and not the loop's."""

import logging
import math
import time
from collections.abc import Callable
from types import FrameType
from typing import Final

from trioserve._complaints import complain
from trioserve._server.lengths import shown_length
from trioserve._server.loop_guard.clocks import Cause, Moment
from trioserve._server.loop_guard.counts import StallCounts
from trioserve._server.loop_guard.standstill import Standstill, standstill_at

__all__ = ["Stalls"]

QUIET_SECONDS: Final = 10.0  # a function, or a cause, that was named is not named again for so long

log = logging.getLogger("trioserve")


class Stalls:
    """Counts them, and writes lines about them: one when a stall is noticed, and one at its end.

    ``clock`` tells seconds of real time, which is not the time of an event loop in a test.
    """

    def __init__(self, counts: StallCounts, clock: Callable[[], float] = time.monotonic) -> None:
        self._counts = counts
        self._clock = clock
        self._named: dict[str, float] = {}  # when each function, or cause, was named the last time
        self._unnamed: dict[str, int] = {}  # how often it was passed over since then
        self._current: Standstill | None = None
        self._is_said = False

    def begin(self, frame: FrameType | None, so_far: Moment) -> None:
        """The loop stands still, with ``frame`` as the innermost one of its thread."""
        self._current = standing = standstill_at(frame)
        self._is_said = not standing.in_debugger and self._may_name(standing.function)
        if self._is_said:
            complain(log, "The event loop stands still for %s now, %s %s%s", shown_length(so_far.wall), _doing(so_far),
                     standing.place, self._passed_over(standing.function), level=logging.WARNING)
            _say_stack(standing)

    def end(self, seconds: float) -> None:
        """The loop goes on."""
        if self._current is None or self._current.in_debugger:
            return
        self._counts.add(seconds)
        if self._is_said:
            complain(log, "The event loop goes on after %s, %s", shown_length(seconds), self._so_often(),
                     level=logging.WARNING)
        self._current = None

    def held_up(self, frame: FrameType | None, seconds: float, cause: Cause) -> None:
        """The loop stood still for a reason that let nobody look meanwhile; ``frame`` is where it stands by now."""
        standing = standstill_at(frame)
        if standing.in_debugger:
            return
        self._counts.add(seconds)
        subject = standing.function if cause is Cause.LOOP else cause.name
        if not self._may_name(subject):
            return
        why = {
            Cause.COLLECTION: "for a garbage collection",
            Cause.LOOP: f"at {standing.place}, which kept the interpreter's lock",
            Cause.THREAD: "because another thread kept the interpreter's lock",
        }[cause]
        complain(log, "The event loop stood still for %s %s%s, %s", shown_length(seconds), why,
                 self._passed_over(subject), self._so_often(), level=logging.WARNING)
        if cause is Cause.LOOP:
            _say_stack(standing)

    def process_stood(self, seconds: float) -> None:
        """That is not the application's doing, or cannot be told from it."""
        complain(log, "This process did not run for %s: it was stopped, or the machine had no time for it",
                 shown_length(seconds), level=logging.INFO)

    def _may_name(self, subject: str) -> bool:
        now = self._clock()
        if now - self._named.get(subject, -math.inf) < QUIET_SECONDS:
            self._unnamed[subject] = self._unnamed.get(subject, 0) + 1
            return False
        self._named[subject] = now
        return True

    def _passed_over(self, subject: str) -> str:
        count = self._unnamed.pop(subject, 0)
        return f" (and {count} more times since the last such line)" if count else ""

    def _so_often(self) -> str:
        counts = self._counts
        if counts.count == 1:
            return "for the first time"
        return f"{counts.count} times altogether, {shown_length(counts.longest)} at most"


def _doing(so_far: Moment) -> str:
    """Whether the loop's thread computes or waits, where the system tells."""
    if so_far.loop is None:
        return "at"
    return "computing at" if so_far.loop >= so_far.wall / 2 else "waiting at"


def _say_stack(standing: Standstill) -> None:
    if log.isEnabledFor(logging.DEBUG):
        stack = "".join(standing.stack.format()).rstrip()
        complain(log, "The event loop stood there, most recent call last:\n%s", stack, level=logging.DEBUG)
