"""Tasks, nurseries and cancel scopes as nodes."""

import math
from collections.abc import Sequence
from types import FrameType
from typing import Any, Final, Protocol

from trioserve._admin.drawing import Drawing, Node
from trioserve._admin.scopes import entered_scopes
from trioserve._connection import await_chain, await_frames, is_machinery
from trioserve._streams import NurseryView, ScopeView, TaskView

__all__ = [
    "RunningTask", "add_stack", "add_started", "add_tasks", "background_node", "is_internal", "lone_task_node",
    "take_host", "task_node",
]

MOST_FRAMES: Final = 100
OF_SCOPE: Final = "cancel scope"


def task_node(drawing: Drawing, task: TaskView, *, cancellable: bool, detail: str = "") -> Node:
    """A task with what it has started. ``cancellable``: it, or what is in it, may be cancelled."""
    node = drawing.node(
        task.key, "task", task.name, cancellable=cancellable and task.cancel is not None, detail=detail)
    add_stack(drawing, node, task.coro)
    add_started(drawing, node, task, task.coro, cancellable=cancellable)
    return node


def add_tasks(drawing: Drawing, node: Node, tasks: Sequence[TaskView], *, cancellable: bool) -> None:
    """Tasks as further children of ``node``."""
    before = len(node.get("children", ()))
    drawing.add_children(
        node, drawing.in_order(tasks), lambda task: task_node(drawing, task, cancellable=cancellable), first=before)


def add_started(drawing: Drawing, node: Node, task: TaskView, coro: object, *, cancellable: bool) -> None:
    """The scopes that ``coro`` waits in, and what its task has started, as children of ``node``."""
    for key, scope in entered_scopes(coro):
        node.setdefault("children", []).append(_scope_node(drawing, key, scope, cancellable=cancellable))
    drawing.add_children(
        node, task.nurseries(), lambda nursery: _nursery_node(drawing, nursery, cancellable=cancellable),
        first=len(node.get("children", ())))
    add_tasks(drawing, node, task.children(), cancellable=cancellable)


def add_stack(drawing: Drawing, node: Node, coro: object) -> None:
    """Where it stands, outside the machinery; all frames if the node was asked for."""
    frames = await_frames(coro)
    application = [frame for frame in frames if not is_machinery(frame)]
    if application:
        frame = application[-1]
        node["where"] = f"{frame.f_code.co_filename}:{frame.f_lineno} ({frame.f_code.co_qualname})"
    if drawing.is_selected(node):
        node["stack"] = [_frame_json(frame) for frame in frames[-MOST_FRAMES:]]


class RunningTask(Protocol):
    """A task that outlives requests; see ``trioserve.extensions.BackgroundTask``."""

    @property
    def name(self) -> str: ...
    @property
    def age(self) -> float: ...
    @property
    def coro(self) -> object: ...

    def cancel(self) -> None: ...


def background_node(drawing: Drawing, task: RunningTask, host: TaskView | None) -> Node:
    """A task that the application has given to the server; ``host`` is the event loop's."""
    node = drawing.node(task, "task", task.name, cancellable=True)
    node["age"] = round(task.age, 3)
    add_stack(drawing, node, task.coro)
    if host is not None:
        add_started(drawing, node, host, task.coro, cancellable=True)
    return node


def take_host(free: list[TaskView], coro: object) -> TaskView | None:
    """The task that runs ``coro``; it is taken out of those that are ``free``."""
    for position, task in enumerate(free):
        if coro is not None and any(link is coro for link, _ in await_chain(task.coro)):
            return free.pop(position)
    return None


def is_internal(task: TaskView) -> bool:
    """It runs nothing but code of the server and of the event loop."""
    frames = await_frames(task.coro)
    return bool(frames) and all(map(is_machinery, frames))


def lone_task_node(drawing: Drawing, task: TaskView) -> Node:
    """A task by itself, wherever it stands in the tree."""
    node = drawing.node(task.key, "task", task.name)
    add_stack(drawing, node, task.coro)
    return node


def _frame_json(frame: FrameType) -> dict[str, Any]:
    code = frame.f_code
    shown: dict[str, Any] = {"file": code.co_filename, "line": frame.f_lineno or 0, "function": code.co_qualname}
    return shown | ({"machinery": True} if is_machinery(frame) else {})


def _nursery_node(drawing: Drawing, nursery: NurseryView, *, cancellable: bool) -> Node:
    node = drawing.node(
        nursery.key, "nursery", "nursery", cancellable=cancellable, **_state_of(drawing, nursery.scope))
    add_tasks(drawing, node, nursery.tasks(), cancellable=cancellable)
    return node


def _scope_node(drawing: Drawing, key: object, scope: ScopeView, *, cancellable: bool) -> Node:
    return drawing.node(key, "scope", "cancel scope", cancellable=cancellable, **_state_of(drawing, scope))


def _state_of(drawing: Drawing, scope: ScopeView) -> dict[str, Any]:
    is_bounded = abs(scope.deadline) != math.inf
    return {
        "deadline": drawing.deadline(scope.deadline, OF_SCOPE) if is_bounded else None,
        "shield": scope.shield,
        "cancelled": scope.cancel_called,
    }
