"""Looking at tasks from outside: who starts, waits and ends, and in which cancel scopes. For development only.

Nothing is changed by looking. trio and anyio show no scopes in public; what is read of them privately is in
``on_trio/steps.py`` and ``on_asyncio/steps.py``, and nowhere else.
"""

from collections.abc import Coroutine, Iterator
from contextvars import Context
from types import CoroutineType, FrameType
from typing import Any, Final, Protocol, TypeAlias

__all__ = ["SeenScope", "SeenTask", "TaskListener", "TaskWatch", "is_of_library", "is_ours", "short_name"]

_ENTERING: Final = ("cancel_shielded_checkpoint", "sleep_until")  # their scopes have no names

SeenTask: TypeAlias = Any
"""A task of the event loop's; equal to itself only."""


class SeenScope(Protocol):
    """A cancel scope, or that of a nursery."""

    @property
    def deadline(self) -> float: ...
    @property
    def shield(self) -> bool: ...
    @property
    def cancel_called(self) -> bool: ...


class TaskListener(Protocol):
    """Hears of tasks while they run, but for the server's own. Must not raise."""

    def cares_for(self, context: Context) -> bool:
        """It wants to hear of a task with these context variables."""

    def on_spawn(self, task: SeenTask, context: Context) -> None:
        """A task has been started by the one that runs now, in a nursery or not. It has not begun."""

    def on_step(self, task: SeenTask) -> None:
        """The task waits now."""

    def on_exit(self, task: SeenTask, error: BaseException | None, *, cancelled: bool) -> None:
        """It has returned, raised ``error``, or was cancelled."""


class TaskWatch(Protocol):
    """What can be seen on a backend."""

    def __enter__(self) -> "TaskWatch": ...
    def __exit__(self, *exc_info: object) -> None: ...

    async def watched(self, coro: Coroutine[Any, Any, None]) -> None:
        """Await ``coro``, whose waits ``on_step`` hears of, in a task that nobody has seen being started."""

    def now(self) -> float:
        """The time by which deadlines are."""

    def current(self) -> SeenTask:
        """The task that runs."""

    def name(self, task: SeenTask) -> str:
        """Its function's, without the way there."""

    def innermost(self, task: SeenTask) -> SeenScope | None:
        """The scope in which it runs."""

    def began_in(self, task: SeenTask) -> SeenScope | None:
        """The scope of the nursery that it was started in; ``None`` if there is none."""

    def entered(self, task: SeenTask, began_in: SeenScope | None) -> list[SeenScope]:
        """The scopes that the application has entered in this task since it ran in ``began_in``, outermost first."""


def is_ours(coro: Any) -> bool:
    """The server itself has made it, while the application called it."""
    frame = getattr(coro, "cr_frame", None)
    return frame is not None and frame.f_globals.get("__name__", "").startswith("trioserve.")


def is_of_library(scope: SeenScope, coro: Any) -> bool:
    """trio or anyio has entered the innermost scope itself, in a function in which ``coro`` waits now."""
    return any(
        frame.f_code.co_name in _ENTERING or any(scope is value for value in frame.f_locals.values())
        for frame in _waiting_frames(coro) if frame.f_globals.get("__name__", "").startswith(("anyio.", "trio."))
    )


def _waiting_frames(coro: Any) -> Iterator[FrameType]:
    while isinstance(coro, CoroutineType):
        if coro.cr_frame is not None:
            yield coro.cr_frame
        coro = coro.cr_await


def short_name(name: str) -> str:
    """``fetch``, of ``shop.views.page.<locals>.fetch``."""
    return name.rpartition(".")[2] if not name.endswith(">") else name.rpartition("<locals>.")[2]
