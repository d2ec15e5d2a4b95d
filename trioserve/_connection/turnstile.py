"""How many requests may be in progress at once, and how many in all. Idle connections do not count."""

from collections import deque
from collections.abc import Callable
from typing import Final

import anyio

__all__ = ["Turnstile"]

QUEUE_SECONDS: Final = 1.0  # longer than a burst, shorter than a client's patience


class Turnstile:
    """Lets requests through, first come, first served.

    Args:
        slots: requests in progress at once, ``None`` for no limit. As many may wait, shortly, as may run.
        budget: requests in all; with the last of them ``on_spent`` is called.
    """

    def __init__(self, slots: int | None, budget: int | None, on_spent: Callable[[], None]) -> None:
        self._free = slots
        self._queue_length = slots or 0
        self._queue: deque[anyio.Event] = deque()
        self._budget = budget
        self._on_spent = on_spent

    async def enter(self) -> bool:
        """Count a request and take a slot for it; false when none came free in time, or too many wait already."""
        if self._budget is not None:
            self._budget -= 1
            if self._budget == 0:
                self._on_spent()
        if self._free is None:
            return True
        if self._free:
            self._free -= 1
            return True
        return len(self._queue) < self._queue_length and await self._wait_in_queue()

    async def _wait_in_queue(self) -> bool:
        admitted = anyio.Event()
        self._queue.append(admitted)
        try:
            with anyio.move_on_after(QUEUE_SECONDS):
                await admitted.wait()
        except BaseException:  # cancelled while waiting: the place in the queue, or the slot, goes to the next
            self._give_up(admitted)
            raise
        if admitted.is_set():
            return True
        self._queue.remove(admitted)
        return False

    def _give_up(self, admitted: anyio.Event) -> None:
        if admitted.is_set():
            self.leave()
        else:
            self._queue.remove(admitted)

    def leave(self) -> None:
        """Give the slot to whoever has waited longest."""
        if self._free is None:
            return
        if self._queue:
            self._queue.popleft().set()
        else:
            self._free += 1
