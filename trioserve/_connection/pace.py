"""When what an application sends has to leave: before ``send()`` returns, but for what is sent back to back."""

from time import perf_counter
from typing import Final

__all__ = ["Pace"]

COLLECT_SECONDS: Final = 0.001  # for which something may wait for what follows it at once


class Pace:
    """Of one response, or of one WebSocket. By the real clock: virtual time does not pass while applications compute.

    Whatever comes after a pause leaves at once. What follows it within a millisecond may collect, until something is
    sent after that millisecond, or the application waits. An application that computes instead makes its client wait
    for what has collected; that happens once, and then nothing collects any more.
    """

    __slots__ = ("_collects", "_last", "_until")

    def __init__(self) -> None:
        self._collects = True
        self._until = 0.0  # in ``perf_counter`` seconds, like ``_last``
        self._last = 0.0  # when something was told to wait; 0 if nothing waits

    def may_wait(self) -> bool:
        """Whether what is sent now may wait for what follows."""
        now = perf_counter()
        if now < self._until:
            self._last = now
            return True
        if self._last and now - self._last > COLLECT_SECONDS:
            self._collects = False
        return False

    def has_left(self) -> None:
        """All that was sent has left."""
        self._last = 0.0
        self._until = perf_counter() + COLLECT_SECONDS if self._collects else 0.0

    def rest(self) -> None:
        """The same, and the application waits: what it sends next comes after a pause."""
        self._last = self._until = 0.0
