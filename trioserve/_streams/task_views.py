"""The tasks of a process as they can be seen from outside, the same way for every event loop."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from trioserve._streams.interface import CancellableNursery

__all__ = [
    "BACKGROUND", "CONNECTION", "LIFESPAN", "NurseryView", "ScopeView", "TaskView", "TaskViews", "function_of",
]

CONNECTION: Final = "trioserve connection"  # names of tasks
LIFESPAN: Final = "trioserve lifespan"
BACKGROUND: Final = "trioserve task "  # and its own name: a task that outlives requests


class ScopeView(Protocol):
    """A cancel scope of trio's or anyio's, as it is."""

    @property
    def deadline(self) -> float: ...
    @property
    def shield(self) -> bool: ...
    @property
    def cancel_called(self) -> bool: ...

    def cancel(self, reason: str | None = None) -> None: ...


class TaskView(Protocol):
    """One task.

    Attributes:
        key: the event loop's own object, which can be referred to weakly.
        cancel: ends it, with a reason; ``None`` where a task cannot be ended without the others of its nursery.
    """

    @property
    def key(self) -> object: ...
    @property
    def name(self) -> str: ...
    @property
    def coro(self) -> object: ...
    @property
    def cancel(self) -> Callable[[str], object] | None: ...

    def nurseries(self) -> "Sequence[NurseryView]":
        """Those that it has opened, outermost first, where the event loop knows them."""

    def children(self) -> "Sequence[TaskView]":
        """What it has started, where the event loop knows of no nursery."""


class NurseryView(Protocol):
    """A nursery of an application's. ``key`` is as that of a task."""

    @property
    def key(self) -> object: ...
    @property
    def scope(self) -> ScopeView: ...

    def tasks(self) -> Sequence[TaskView]: ...


class TaskViews(Protocol):
    """All tasks of the process at one moment.

    Attributes:
        cannot_show: sentences for a person: what this event loop does not tell.
    """

    @property
    def cannot_show(self) -> Sequence[str]: ...

    def of(self, nursery: CancellableNursery) -> Sequence[TaskView]:
        """The tasks of a connection. On trio each has what its application has started, without the connection's."""

    def lifespan(self) -> TaskView | None:
        """The task of the application's lifespan, if there is one."""

    def marks(self) -> Sequence[object]:
        """The values that the variable has in tasks, where tasks are not in nurseries."""

    def marked(self, mark: object) -> Sequence[TaskView]:
        """Tasks in whose context the variable has this value, where tasks are not in nurseries; without their children.

        Those of connections are left out.
        """

    def others(self) -> Sequence[TaskView]:
        """Tasks that belong to no connection and not to the lifespan, all of them in one list."""


def function_of(coro: Any) -> str:
    """The name of the function that it is a call of, with its module."""
    frame = getattr(coro, "cr_frame", None)
    module = frame.f_globals.get("__name__", "") + "." if frame is not None else ""
    return module + str(getattr(coro, "__qualname__", type(coro).__qualname__))
