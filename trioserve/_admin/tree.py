"""The tree of one process: walked from the server's own objects when somebody asks, and not before."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, Protocol, cast

import anyio

from trioserve._admin.connection_nodes import BUSY, connection_node, contains, mark_of, nurseries_of
from trioserve._admin.drawing import MOST_NODES, Drawing, Node
from trioserve._admin.handles import Handles
from trioserve._admin.history import History
from trioserve._admin.marks import MARK, is_of_lifespan, line_of
from trioserve._admin.task_nodes import (
    RunningTask,
    add_stack,
    add_started,
    background_node,
    is_internal,
    lone_task_node,
    take_host,
    task_node,
)
from trioserve._admin.view import View
from trioserve._connection import PHASES, Mark, Served
from trioserve._streams import TaskView, TaskViews, look_at_tasks
from trioserve._version import __version__

__all__ = ["SCHEMA", "ServerState", "Tree", "WatchedServer", "snapshot_of"]

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class ServerState:
    """How a server stands.

    Attributes:
        phase: ``STARTING``, ``READY``, ``DELAY``, ``DRAINING`` or ``STOPPING``.
        lifespan: ``STARTING``, ``RUNNING``, ``STOPPING`` or ``ENDED``; empty when the application has none.
        age: seconds.
        detail: the event loop and so on, for a person.
        listeners: addresses, as they are shown.
    """

    phase: str
    lifespan: str
    age: float
    detail: str
    listeners: Sequence[str]


class WatchedServer(Protocol):
    """A server of this process, as the tree sees it."""

    @property
    def connections(self) -> Collection[Served]: ...
    @property
    def background_tasks(self) -> Sequence[RunningTask]: ...

    def state(self) -> ServerState: ...


class _Place:
    """Stands for a node that is no object of its own."""


class Tree:
    """Of one server. ``history`` knows what has ended, if somebody remembers it."""

    def __init__(self, server: WatchedServer, history: History | None = None) -> None:
        self._server = server
        self._history = history
        self.handles = Handles()
        self._listeners, self._lifespan, self._connections, self._background, self._tasks = (
            _Place() for _ in range(5))
        self._places: dict[str, _Place] = {}  # of the listeners, by their addresses

    @property
    def connections(self) -> Collection[Served]:
        return self._server.connections

    def snapshot(self, view: View, most_nodes: int = MOST_NODES) -> dict[str, Any]:
        """What docs/reference/tree.md describes. To be called in the server's event loop."""
        began = perf_counter()
        tasks = look_at_tasks(nurseries_of(self._server.connections), MARK)
        drawing = Drawing(view, self.handles, anyio.current_time(), most_nodes)
        ended = self._history.entries() if self._history is not None else []
        root = self._root(drawing, tasks)
        return snapshot_of(root, view, ended, tasks.cannot_show, took=perf_counter() - began)

    def _root(self, drawing: Drawing, tasks: TaskViews) -> Node:
        state = self._server.state()
        root = drawing.node(self, "server", "trioserve", state=state.phase, detail=state.detail)
        root["age"] = round(state.age, 3)
        others = list(tasks.others())
        root["children"] = [
            self._listeners_node(drawing, state.listeners), self._lifespan_node(drawing, state.lifespan, tasks),
            self._connections_node(drawing, tasks), *self._background_nodes(drawing, others),
            self._tasks_node(drawing, tasks, others),
        ]  # fmt: skip
        return root

    def _listeners_node(self, drawing: Drawing, addresses: Sequence[str]) -> Node:
        node = drawing.node(self._listeners, "listeners", "listeners")
        drawing.add_children(node, addresses, lambda address: drawing.node(
            self._places.setdefault(address, _Place()), "listener", address))
        return node

    def _lifespan_node(self, drawing: Drawing, state: str, tasks: TaskViews) -> Node:
        node = drawing.node(self._lifespan, "lifespan", "lifespan", state=state, detail="" if state else "none")
        if (task := tasks.lifespan()) is not None:
            add_stack(drawing, node, task.coro)
            add_started(drawing, node, task, task.coro, cancellable=False)
        return node

    def _connections_node(self, drawing: Drawing, tasks: TaskViews) -> Node:
        """There may be many: only those that are shown are looked at closely."""
        text = drawing.view.filter.lower()
        found = [one for one in self._server.connections if not text or contains(one, text)]
        phases = [one.phase for one in found]
        counts = Counter(phases)
        node = drawing.node(self._connections, "connections", "connections")
        node["counts"] = {phase: counts[phase] for phase in PHASES if counts[phase]}
        order = {phase: position for position, phase in enumerate(PHASES)}
        ordered = sorted(zip(phases, found, strict=True), key=lambda pair: (order[pair[0]], pair[1].began))
        drawing.add_children(
            node, ordered, lambda pair: connection_node(drawing, pair[1], tasks), offset=drawing.view.offset)
        return node

    def _background_nodes(self, drawing: Drawing, others: list[TaskView]) -> list[Node]:
        """A node for the tasks that outlive requests, if there are any."""
        background = self._server.background_tasks
        if not background:
            return []
        node = drawing.node(self._background, "tasks", "background tasks")
        drawing.add_children(
            node, background, lambda task: background_node(drawing, task, take_host(others, task.coro)))
        return [node]

    def _tasks_node(self, drawing: Drawing, tasks: TaskViews, others: list[TaskView]) -> Node:
        of_application = [task for task in others if not is_internal(task)]
        left_behind = [(mark, task) for mark in self._marks_left_behind(tasks) for task in tasks.marked(mark)]
        hidden = len(others) - len(of_application)
        detail = f"{hidden} of the server and the event loop" if hidden else ""
        if hidden and (of_application or left_behind):
            detail = f"and {detail}"
        node = drawing.node(self._tasks, "tasks", "other tasks", detail=detail)
        drawing.add_children(node, left_behind, lambda pair: task_node(
            drawing, pair[1], cancellable=True, detail=f"started by {line_of(pair[0])}, which has ended"))
        drawing.add_children(
            node, drawing.in_order(of_application), lambda task: lone_task_node(drawing, task),
            first=len(left_behind))
        return node

    def _marks_left_behind(self, tasks: TaskViews) -> list[Mark]:
        """Of calls of the application that have ended before their tasks."""
        marks = {mark for mark in cast("Sequence[Mark]", tasks.marks()) if not is_of_lifespan(mark)}
        if marks:
            busy = [one for one in self._server.connections if one.phase in BUSY]
            marks -= {mark for one in busy for request in one.look().requests if (mark := mark_of(request))}
        return sorted(marks, key=lambda mark: mark[0])


def snapshot_of(
    root: Node, view: View, ended: Sequence[dict[str, Any]], cannot_show: Sequence[str], *, took: float
) -> dict[str, Any]:
    """A snapshot around its root. ``took``: seconds."""
    return {
        "schema": SCHEMA,
        "trioserve": __version__,
        "taken": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "took": round(took, 6),
        "view": view.as_json(),
        "root": root,
        "ended": list(ended),
        "cannot_show": list(cannot_show),
    }
