"""Looking at trio's tasks, as an instrument. The scopes of a task, and what one has raised, are private to trio."""

from collections.abc import Coroutine
from typing import Any

import trio

from trioserve._streams.task_watch import SeenScope, TaskListener, is_of_library, is_ours, short_name

__all__ = ["TrioTaskWatch"]


class TrioTaskWatch(trio.abc.Instrument):
    """Attached for the length of a block."""

    def __init__(self, listener: TaskListener) -> None:
        self._listener = listener
        self._raised: dict[trio.Nursery, int] = {}  # how many of its tasks, as far as we have seen
        self._running: dict[trio.lowlevel.Task, Coroutine[Any, Any, None]] = {}  # in tasks that nobody saw starting
        self.now = trio.lowlevel.current_clock().current_time
        self.current = trio.lowlevel.current_task

    def __enter__(self) -> "TrioTaskWatch":
        trio.lowlevel.add_instrument(self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        trio.lowlevel.remove_instrument(self)

    # What trio calls.

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        if self._listener.cares_for(task.context) and not is_ours(task.coro):
            self._listener.on_spawn(task, task.context)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._listener.on_step(task)

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        if self._listener.cares_for(task.context):
            error = self._error_of(task)
            cancelled = isinstance(error, trio.Cancelled)
            self._listener.on_exit(task, None if cancelled else error, cancelled=cancelled)

    def _error_of(self, task: trio.lowlevel.Task) -> BaseException | None:
        """What it has raised: its nursery has just been given that."""
        nursery = task.parent_nursery
        errors: list[BaseException] = getattr(nursery, "_pending_excs", [])
        if nursery is None or len(errors) == self._raised.get(nursery, 0):
            return None
        self._raised[nursery] = len(errors)
        if not nursery.child_tasks:
            del self._raised[nursery]
        return errors[-1]

    async def watched(self, coro: Coroutine[Any, Any, None]) -> None:
        task = self.current()
        self._running[task] = coro
        try:
            await coro  # trio tells of the steps of all tasks
        finally:
            del self._running[task]

    # What is asked.

    def name(self, task: trio.lowlevel.Task) -> str:
        return short_name(task.name)

    def innermost(self, task: trio.lowlevel.Task) -> SeenScope | None:
        status: Any = task._cancel_status
        return status._scope if status is not None else None

    def began_in(self, task: trio.lowlevel.Task) -> SeenScope | None:
        return task.parent_nursery.cancel_scope if task.parent_nursery is not None else None

    def entered(self, task: trio.lowlevel.Task, began_in: SeenScope | None) -> list[SeenScope]:
        scopes: list[SeenScope] = []
        status: Any = task._cancel_status
        while status is not None and status._scope is not began_in:
            scopes.append(status._scope)
            status = status._parent
        if scopes and is_of_library(scopes[0], self._running.get(task, task.coro)):
            del scopes[0]
        return scopes[::-1]
