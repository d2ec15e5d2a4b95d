"""How many requests may be in progress: the next ones wait shortly, then they are turned away."""

from collections import deque
from typing import Final

import anyio

__all__ = ["RETRY_AFTER_SECONDS", "Admission"]

RETRY_AFTER_SECONDS: Final = 1
QUEUE_SECONDS: Final = 1.0  # longer than a burst, shorter than a client's patience


class Admission:
    """Slots for requests in progress, first come, first served; as many may wait as may run.

    Only requests take slots: idle connections do not count.
    """

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._queue_length = slots
        self._queue: deque[anyio.Event] = deque()

    async def enter(self) -> bool:
        """Take a slot; false when none came free in time, or when too many wait already."""
        if self._free:
            self._free -= 1
            return True
        if len(self._queue) >= self._queue_length:
            return False
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

    def leave(self) -> None:
        """Give the slot to whoever has waited longest."""
        if self._queue:
            self._queue.popleft().set()
        else:
            self._free += 1

    def _give_up(self, admitted: anyio.Event) -> None:
        if admitted.is_set():
            self.leave()
        else:
            self._queue.remove(admitted)
