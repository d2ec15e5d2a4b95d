"""Putting a task that runs under a cancel scope of anyio's, from outside.

anyio offers cancel scopes to the task that enters them. To enter one costs 4 us, and on asyncio each request is a task
of its own: that would be a third of a small request, for a cancellation that hardly ever comes. So such a task enters
nothing, and is put under a scope when it is cancelled: that of its nursery, or one made for the occasion.

All of that is private to anyio: the table of task states, what a scope knows of its tasks and children, and how it is
given another parent and delivers a cancellation. It is used here only, and looked at when this module is imported. If
it does not look as expected, ``CAN_ADOPT`` is false, and the tasks enter a scope from their start.
"""

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import anyio
from anyio._backends import _asyncio

if TYPE_CHECKING:
    import asyncio

__all__ = ["CAN_ADOPT", "adopt", "looks_as_expected"]

_ATTRIBUTES: Final = {"_cancel_called", "_cancel_handle", "_host_task", "_parent_scope", "_tasks"}
_METHODS: Final = {"_deliver_cancellation": ["self", "origin"], "_reparent": ["self", "new_parent"]}


def looks_as_expected(backend: Any) -> bool:
    """``backend``, anyio's module for asyncio, has what ``adopt`` uses."""
    try:
        scope = backend.CancelScope
        return (
            isinstance(backend._task_states, WeakKeyDictionary)
            and _parameters(backend.TaskState.__init__) == ["self", "parent_id", "cancel_scope"]
            and set(scope.__slots__) >= _ATTRIBUTES
            and all(_parameters(getattr(scope, name)) == expected for name, expected in _METHODS.items())
        )
    except (AttributeError, TypeError):
        return False


def _parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


CAN_ADOPT: Final = looks_as_expected(_asyncio)


def adopt(task: "asyncio.Task[None]", cancel_scope: anyio.CancelScope) -> None:
    """Let ``task``, which nobody has put under a scope, be cancelled together with ``cancel_scope``, which is entered.

    It is then as if ``task`` had been started in a task group with this scope. Again: nothing.
    """
    scope: Any = cancel_scope
    states: Any = _asyncio._task_states
    state = states.get(task)
    if state is None:
        states[task] = _asyncio.TaskState(id(scope._host_task), scope)
        scope._tasks.add(task)
    elif state.cancel_scope is None:  # it has left all that it had entered
        state.cancel_scope = scope
        scope._tasks.add(task)
    else:
        outermost = state.cancel_scope
        while outermost is not scope and outermost._parent_scope is not None:
            outermost = outermost._parent_scope
        if outermost is scope:
            return
        outermost._reparent(scope)
    task.add_done_callback(partial(_release, scope))
    if scope._cancel_called and scope._cancel_handle is None:  # it had nobody to tell any more
        scope._deliver_cancellation(scope)


def _release(scope: Any, task: "asyncio.Task[None]") -> None:
    scope._tasks.discard(task)
    states: Any = _asyncio._task_states
    states.pop(task, None)
