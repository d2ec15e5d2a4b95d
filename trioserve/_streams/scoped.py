"""How every nursery begins a task that can be cancelled by itself."""

from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

__all__ = ["TaskFunction", "run_in_scope"]

TaskFunction: TypeAlias = Callable[..., Coroutine[Any, Any, None]]


async def run_in_scope(scope: AbstractContextManager[Any], function: TaskFunction, args: tuple[object, ...]) -> None:
    """The first step of the task."""
    with scope:
        await function(*args)
