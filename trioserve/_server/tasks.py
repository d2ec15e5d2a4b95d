"""Work that outlives requests: tasks of the application's in a nursery of the server's (``trioserve.tasks``)."""

import inspect
import logging
from collections.abc import Callable, Coroutine, Iterable
from time import perf_counter
from typing import Any

import anyio
import anyio.abc

from trioserve._complaints import complain
from trioserve._connection import await_point, orders_and_errors
from trioserve._errors import TaskCrashed
from trioserve.extensions import BackgroundTask, StartTask

__all__ = ["BackgroundTasks"]

log = logging.getLogger("trioserve")


class BackgroundTasks:
    """All tasks of one server, for one run.

    Args:
        on_crash: called with a reason when a task has raised an exception.

    Attributes:
        start: what applications find in their scopes, as a plain function: it can be copied with the scope.
        running: likewise; tasks that have not ended, the oldest first.
        failure: a task has raised an exception, so the server stops.
    """

    start: StartTask
    running: Callable[[], list[BackgroundTask]]

    def __init__(self, on_crash: Callable[[str], None]) -> None:
        self._on_crash = on_crash
        self._nursery: anyio.abc.TaskGroup | None = None  # while there is one
        self._tasks: dict[_Task, None] = {}  # the oldest first
        self._all_ended = anyio.Event()
        self.failure: TaskCrashed | None = None

        def start(
            function: Callable[..., Coroutine[Any, Any, object]], *args: Any, name: str | None = None
        ) -> BackgroundTask:
            return self._start(name or _name_of(function), function, args)

        self.start = start
        self.running = lambda: list(self._tasks)

    def open(self, nursery: anyio.abc.TaskGroup) -> None:
        """From now on tasks can be started, in this nursery."""
        self._nursery = nursery

    async def wait_until_ended(self) -> None:
        """Wait for those that are running, and for what they start."""
        while self._tasks:
            self._all_ended = anyio.Event()
            await self._all_ended.wait()

    def close(self, reason: str) -> None:
        """Start no task any more; cancel those that are left, each named in the log with ``reason``."""
        self._nursery = None
        for task in list(self._tasks):
            complain(log, "%s: ended the background task %s after %.1f s, waiting at %s",
                     reason, task.name, task.age, await_point(task.coro), level=logging.WARNING)
            task.cancel()

    def _start(
        self, name: str, function: Callable[..., Coroutine[Any, Any, object]], args: Iterable[Any]
    ) -> BackgroundTask:
        if inspect.iscoroutine(function):
            function.close()  # it will not be awaited, and Python would warn of it
            raise TypeError(f"a task is started with an async function and its arguments, start({name}, ...), "
                            f"not with the call {name}(...)")
        if self._nursery is None:
            raise RuntimeError(f"the task {name} cannot be started: the server has stopped")
        coro = function(*args)
        if not inspect.iscoroutine(coro):
            raise TypeError(f"a task is started with an async function; {name} is none")
        task = _Task(name, coro)
        self._tasks[task] = None
        self._nursery.start_soon(self._run, task, name=f"trioserve task {name}")
        return task

    async def _run(self, task: "_Task") -> None:
        try:
            with task.scope:
                await task.coro
        except BaseException as exc:
            order, error = orders_and_errors(exc, cancelled=anyio.current_effective_deadline() == float("-inf"))
            if error is not None:
                self._on_error(task, error)
            if order is not None:
                raise order from None
        finally:
            del self._tasks[task]
            if not self._tasks:
                self._all_ended.set()

    def _on_error(self, task: "_Task", error: BaseException) -> None:
        complain(log, "The background task %s crashed; the server stops", task.name, exc_info=error,
                 level=logging.CRITICAL)
        self.failure = self.failure or TaskCrashed(f"the background task {task.name} crashed")
        self._on_crash("task-crashed")


class _Task:
    """See ``trioserve.extensions.BackgroundTask``."""

    def __init__(self, name: str, coro: Coroutine[Any, Any, object]) -> None:
        self.name = name
        self.coro = coro
        self.scope = anyio.CancelScope()
        self._started = perf_counter()

    @property
    def age(self) -> float:
        return perf_counter() - self._started

    def cancel(self) -> None:
        self.scope.cancel()


def _name_of(function: Any) -> str:
    while (wrapped := getattr(function, "func", None)) is not None:  # functools.partial
        function = wrapped
    return getattr(function, "__qualname__", None) or type(function).__qualname__
