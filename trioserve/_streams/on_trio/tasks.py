"""Tasks on trio: the tree is there, and it is shown as it is."""

from collections.abc import Iterator, Sequence
from typing import Final

import trio

from trioserve._streams.interface import CancellableNursery
from trioserve._streams.on_trio.network import TrioNursery
from trioserve._streams.task_views import CONNECTION, LIFESPAN, NurseryView, TaskView, function_of

__all__ = ["TrioTasks"]

_OF_PARTIALS: Final = "functools"  # what trio calls a task that was started with a functools.partial


class TrioTaskView:
    """A task, without one of its nurseries if that is shown elsewhere."""

    __slots__ = ("_elsewhere", "key")

    cancel = None

    def __init__(self, task: trio.lowlevel.Task, elsewhere: trio.Nursery | None = None) -> None:
        self.key: Final = task
        self._elsewhere = elsewhere

    @property
    def name(self) -> str:
        return function_of(self.key.coro) if self.key.name == _OF_PARTIALS else self.key.name

    @property
    def coro(self) -> object:
        return self.key.coro

    def nurseries(self) -> Sequence[NurseryView]:
        return [TrioNurseryView(nursery) for nursery in self.key.child_nurseries if nursery is not self._elsewhere]

    def children(self) -> Sequence[TaskView]:
        return ()


class TrioNurseryView:
    """A nursery."""

    __slots__ = ("key",)

    def __init__(self, nursery: trio.Nursery) -> None:
        self.key: Final = nursery

    @property
    def scope(self) -> trio.CancelScope:
        return self.key.cancel_scope

    def tasks(self) -> Sequence[TaskView]:
        return [TrioTaskView(task) for task in self.key.child_tasks]


class TrioTasks:
    """Of the running event loop."""

    cannot_show = ()

    def __init__(self) -> None:
        root = trio.lowlevel.current_root_task()
        assert root is not None, "trio runs"
        self._free = list(_beside_connections(root))

    def of(self, nursery: CancellableNursery) -> Sequence[TaskView]:
        assert isinstance(nursery, TrioNursery)
        opened = nursery.opened
        if opened is None:
            return ()
        return [TrioTaskView(opened.parent_task, elsewhere=opened), *map(TrioTaskView, opened.child_tasks)]

    def lifespan(self) -> TaskView | None:
        return next((TrioTaskView(task) for task in self._free if task.name == LIFESPAN), None)

    def marks(self) -> Sequence[object]:
        return ()

    def marked(self, mark: object) -> Sequence[TaskView]:
        return ()

    def others(self) -> Sequence[TaskView]:
        return [TrioTaskView(task) for task in self._free if task.name != LIFESPAN]


def _beside_connections(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    """``task`` and all tasks under it, but for connections, and for what is under a lifespan."""
    yield task
    if task.name == LIFESPAN:
        return
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            if child.name != CONNECTION:
                yield from _beside_connections(child)
