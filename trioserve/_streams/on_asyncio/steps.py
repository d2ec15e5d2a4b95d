"""Looking at asyncio's tasks, by a task factory. Their scopes are anyio's, and private to it.

Scopes of asyncio's own, ``asyncio.timeout`` and that of ``asyncio.TaskGroup``, are not seen; tasks are.
"""

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, copy_context
from functools import partial
from typing import Any

from anyio._backends import _asyncio as anyio_on_asyncio

from trioserve._streams.task_watch import SeenScope, TaskListener, is_of_library, is_ours, short_name

__all__ = ["AsyncioTaskWatch"]


@types.coroutine
def _stepping(coro: Coroutine[Any, Any, Any], on_step: Callable[[], None]) -> Generator[Any, Any, Any]:
    """Await ``coro``; before each wait ``on_step`` is called."""
    resume: Callable[[Any], Any] = coro.send
    answer: Any = None
    while True:
        try:
            trap = resume(answer)
        except StopIteration as stop:
            return stop.value
        finally:
            answer = None  # its traceback knows this frame: a cycle
        on_step()
        try:
            answer = yield trap
        except GeneratorExit:
            coro.close()
            raise
        except BaseException as exc:  # handed on, not handled
            resume, answer = coro.throw, exc
        else:
            resume = coro.send


class AsyncioTaskWatch:
    """Attached for the length of a block. A loop that has a task factory keeps it: then no new task is seen."""

    def __init__(self, listener: TaskListener) -> None:
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._running: dict[asyncio.Task[Any], Coroutine[Any, Any, Any]] = {}  # what each of the watched tasks runs
        self.now = self._loop.time

    def __enter__(self) -> "AsyncioTaskWatch":
        if self._loop.get_task_factory() is None:
            self._loop.set_task_factory(self._make_task)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._loop.get_task_factory() == self._make_task:
            self._loop.set_task_factory(None)

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coro: Any, context: Context | None = None, **options: Any
    ) -> "asyncio.Task[Any]":
        context = copy_context() if context is None else context
        if not self._listener.cares_for(context) or is_ours(coro):
            return asyncio.Task(coro, loop=loop, context=context, **options)
        task: asyncio.Task[Any] = asyncio.Task(self.watched(coro), loop=loop, context=context, **options)
        task.get_coro().__qualname__ = coro.__qualname__  # type: ignore[union-attr]  # a coroutine, whose name can be set
        task.add_done_callback(partial(self._on_done, coro))
        self._listener.on_spawn(task, context)
        return task

    async def watched(self, coro: Coroutine[Any, Any, Any]) -> Any:
        task = self.current()
        self._running[task] = coro
        try:
            return await _stepping(coro, lambda: self._listener.on_step(task))
        finally:
            self._listener.on_step(task)  # others run before the loop tells of its end
            del self._running[task]

    def _on_done(self, coro: Coroutine[Any, Any, Any], task: "asyncio.Task[Any]") -> None:
        coro.close()  # it has not begun if the task was cancelled before it did
        cancelled = task.cancelled()
        self._listener.on_exit(task, None if cancelled else task.exception(), cancelled=cancelled)

    # What is asked.

    def current(self) -> "asyncio.Task[Any]":
        task = asyncio.current_task()
        assert task is not None, "called by one"
        return task

    def name(self, task: "asyncio.Task[Any]") -> str:
        name = task.get_name()
        if name.startswith("Task-") or name == "None":  # asyncio's number; the text is what some 3.13 make of no name
            name = getattr(task.get_coro(), "__qualname__", name)
        return short_name(name)

    def innermost(self, task: "asyncio.Task[Any]") -> SeenScope | None:
        state = anyio_on_asyncio._task_states.get(task)
        return state.cancel_scope if state is not None else None

    def began_in(self, task: "asyncio.Task[Any]") -> SeenScope | None:
        """It has not begun, so this is the scope that it is in."""
        return self.innermost(task)

    def entered(self, task: "asyncio.Task[Any]", began_in: SeenScope | None) -> list[SeenScope]:
        """Those of the task itself; a nursery of the server's may have been put around it later."""
        scopes: list[SeenScope] = []
        scope: Any = self.innermost(task)
        while scope is not None and scope is not began_in:
            if scope._host_task is task:
                scopes.append(scope)
            scope = scope._parent_scope
        if scopes and is_of_library(scopes[0], self._running.get(task)):
            del scopes[0]
        return scopes[::-1]
