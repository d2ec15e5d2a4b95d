"""Tasks on asyncio, which keeps no tree of them.

What can be found out: which nursery of ours a task is in, which task has started it in a task group of anyio's, and
in a copy of whose context it runs.
"""

import asyncio
import gc
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextvars import Context, ContextVar
from functools import partial
from typing import Any, Final, TypeAlias

import anyio

from trioserve._streams.interface import CancellableNursery
from trioserve._streams.on_asyncio.nursery import AsyncioNursery
from trioserve._streams.task_views import BACKGROUND, CONNECTION, LIFESPAN, NurseryView, TaskView, function_of

__all__ = ["AsyncioTasks"]

AnyTask: TypeAlias = "asyncio.Task[Any]"

MOST_ASKED: Final = 2000  # tasks; anyio tells of all parents or of none, for 20 us a task
WITHOUT_PARENTS: Final = (
    f"There are more than {MOST_ASKED:,} tasks: which of them has started which is not shown, only for which request.")

_UNNAMED: Final = re.compile(r"Task-[0-9]+")  # what asyncio calls a task that nobody has given a name


class AsyncioTaskView:
    """A task."""

    __slots__ = ("_children", "key")

    def __init__(self, task: AnyTask, children: Callable[[], Sequence[TaskView]]) -> None:
        self.key: Final = task
        self._children = children

    @property
    def name(self) -> str:
        name = self.key.get_name()
        return function_of(self.key.get_coro()) if _UNNAMED.fullmatch(name) else name

    @property
    def coro(self) -> object:
        return self.key.get_coro()

    @property
    def cancel(self) -> Callable[[str], object]:
        return self.key.cancel

    def nurseries(self) -> Sequence[NurseryView]:
        return ()

    def children(self) -> Sequence[TaskView]:
        return self._children()


class AsyncioTasks:
    """Of the running event loop."""

    cannot_show: tuple[str, ...] = (
        "asyncio does not keep a tree of tasks: a task is shown under the request that has started it, or that has "
        "started its parent.",
        "Of cancel scopes, those of anyio and asyncio.timeout are shown which a task waits in.",
    )

    def __init__(self, connections: Iterable[CancellableNursery], variable: ContextVar[Any]) -> None:
        self._owned: set[AnyTask] = set()
        for nursery in connections:
            self._owned.update(_tasks_of(nursery))
        all_tasks = asyncio.all_tasks()
        if len(all_tasks) > MOST_ASKED:
            self.cannot_show = (*self.cannot_show, WITHOUT_PARENTS)
        free = [task for task in all_tasks if task not in self._owned and task.get_name() != CONNECTION]
        self._parents = _parents_of(free, all_tasks)
        self._marks = {
            task: context.get(variable) for task in free
            if not self._outlives_requests(task) and (context := _context_of(task)) is not None}
        self._children: defaultdict[AnyTask, list[AnyTask]] = defaultdict(list)
        self._marked: defaultdict[object, list[AnyTask]] = defaultdict(list)
        self._free = free
        for task in free:
            parent = self._parents.get(task)
            if parent is not None:
                self._children[parent].append(task)
            mark = self._marks.get(task)
            if mark is not None and (parent is None or self._marks.get(parent) is not mark):
                self._marked[mark].append(task)

    def of(self, nursery: CancellableNursery) -> Sequence[TaskView]:
        return self._views(_tasks_of(nursery))

    def started_by(self, parent: AnyTask) -> Sequence[TaskView]:
        """In a task group of anyio's."""
        return self._views(self._children.get(parent, ()))

    def lifespan(self) -> TaskView | None:
        task = next((task for task in self._free if task.get_name() == LIFESPAN), None)
        if task is None:
            return None
        marked = self._marked.get(self._marks.get(task), ())
        started = self._views(other for other in marked if other is not task)
        return AsyncioTaskView(task, lambda: [*self.started_by(task), *started])

    def marks(self) -> Sequence[object]:
        return list(self._marked)

    def marked(self, mark: object) -> Sequence[TaskView]:
        return self._views(self._marked.get(mark, ()))

    def others(self) -> Sequence[TaskView]:
        return self._views(task for task in self._free if self._marks.get(task) is None and not self._is_placed(task))

    def _is_placed(self, task: AnyTask) -> bool:
        """It is the lifespan's, or was started under that, under a connection, or under a task that outlives them."""
        line = self._line_of(task)
        return any(one in self._owned or one.get_name() == LIFESPAN for one in line) or (
            not _is_background(task) and self._outlives_requests(task))

    def _outlives_requests(self, task: AnyTask) -> bool:
        """The mark that it has inherited says nothing."""
        return any(map(_is_background, self._line_of(task)))

    def _line_of(self, task: "AnyTask | None") -> Iterator[AnyTask]:
        """The task, its parent and so on."""
        while task is not None:
            yield task
            task = self._parents.get(task)

    def _views(self, tasks: Iterable[AnyTask]) -> Sequence[TaskView]:
        return [AsyncioTaskView(task, partial(self.started_by, task)) for task in tasks]


def _tasks_of(nursery: CancellableNursery) -> list[AnyTask]:
    assert isinstance(nursery, AsyncioNursery)
    return nursery.tasks()


def _parents_of(tasks: Sequence[AnyTask], all_tasks: Collection[AnyTask]) -> dict[AnyTask, AnyTask]:
    """Who has started whom in a task group, as anyio tells by the ids of both."""
    if len(all_tasks) > MOST_ASKED:
        return {}
    by_id = {id(task): task for task in all_tasks}
    parents = {info.id: info.parent_id for info in anyio.get_running_tasks() if info.parent_id is not None}
    return {task: parent for task in tasks if (parent := by_id.get(parents.get(id(task), 0))) is not None}


def _is_background(task: AnyTask) -> bool:
    return task.get_name().startswith(BACKGROUND)


def _context_of(task: AnyTask) -> Context | None:
    """The context that it runs in. Before Python 3.12 a task does not tell, but the garbage collector does."""
    if sys.version_info >= (3, 12):
        return task.get_context()
    return next((found for found in gc.get_referents(task) if isinstance(found, Context)), None)
