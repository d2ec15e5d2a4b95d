"""Which task holds a connection, where one task after the other does.

On trio a task that has come to the end of its request waits to be a successor again. With a new task for each successor
a request over HTTP/2 that waits once cost 40 us, and not 29 (h2load, 8 connections with 16 streams).
"""

from collections.abc import Callable
from typing import Final

from trioserve._streams import Cancellable, CancellableNursery, TaskFunction, WaitingTasks

__all__ = ["Relay"]

MOST_IN_RESERVE: Final = 4  # tasks, of 3 KiB each; with 32 no request was cheaper


class Relay:
    """Of one connection, until it is over.

    Attributes:
        holder: the task that holds the connection; at first the nursery of them all.
        turn: of the relay. A task that began with another one does not hold the connection any more.
    """

    __slots__ = ("_is_over", "_new_waiting_tasks", "_nursery", "_reserve", "holder", "turn")

    def __init__(self, nursery: CancellableNursery, new_waiting_tasks: Callable[[], WaitingTasks]) -> None:
        self._nursery = nursery
        self._new_waiting_tasks = new_waiting_tasks
        self._reserve: dict[Cancellable, WaitingTasks] = {}
        self._is_over = False
        self.holder: Cancellable = nursery
        self.turn = 0

    def begin(self, hold: TaskFunction, *args: object) -> None:
        """Start the first holder."""
        self.holder = self._nursery.start_soon(hold, *args)

    def hand_on(self, hold: TaskFunction) -> Cancellable:
        """The holder, which is returned, has something else to do: a successor holds the connection."""
        former = self.holder
        self.turn += 1
        self.holder = self._from_reserve() or self._nursery.start_soon(hold)
        return former

    def _from_reserve(self) -> Cancellable | None:
        """The task that was the last to come: what it uses is still in the processor's cache."""
        while self._reserve:
            task, call = self._reserve.popitem()
            if call:  # nobody waits there any more when it was cancelled
                call.wake()
                return task
        return None

    def hand_to_nursery(self) -> None:
        """The same, and the caller starts a successor, which is cancelled only together with all other tasks."""
        self.turn += 1
        self.holder = self._nursery

    async def is_needed(self, task: Cancellable) -> bool:
        """Wait in ``task``, which has something else to do no longer, until it holds the connection again.

        False when it never will, and shall end.
        """
        if self._is_over or len(self._reserve) >= MOST_IN_RESERVE:
            return False
        self._reserve[task] = call = self._new_waiting_tasks()
        try:
            await call.wait()
        finally:
            self._reserve.pop(task, None)
        return task is self.holder  # which sees to the end, when that has come meanwhile

    def end(self) -> None:
        """No successor is needed any more. May be called again."""
        self._is_over = True
        for call in self._reserve.values():
            call.wake()
