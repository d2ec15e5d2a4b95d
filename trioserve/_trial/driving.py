"""Drives a coroutine from await to await, and hands everything on. Whoever looks on may hold it up, or give it up."""

import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Protocol, TypeVar

import outcome

__all__ = ["Onlooker", "drive"]

T = TypeVar("T")


class Onlooker(Protocol):
    """Is told of every await; none of these may raise."""

    def on_suspend(self) -> None:
        """The coroutine waits."""

    def hold(self) -> Awaitable[None] | None:
        """What it waited for has come. Something to await before it goes on, if it shall be late.

        It has to be shielded: on trio a nursery that has been told of its children's end cannot be cancelled any more.
        """

    def on_resume(self, raised: BaseException | None) -> None:
        """It goes on, with what is ``raised`` where it waits, if anything is."""

    def gives_up(self) -> bool:
        """The coroutine shall not go on any more, whatever becomes of it."""


@types.coroutine
def drive(coro: Coroutine[Any, Any, T], onlooker: Onlooker) -> Generator[Any, Any, T | None]:
    """Await ``coro``; returns what it returns, and ``None`` when it was given up."""
    resume: Callable[[Any], Any] = coro.send
    answer: Any = None
    raised: BaseException | None = None
    while True:
        onlooker.on_resume(raised)
        try:
            trap = resume(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            answer = raised = None  # its traceback knows this frame: a cycle
        onlooker.on_suspend()
        if onlooker.gives_up():
            return None
        try:
            answer = yield trap
            if (delay := onlooker.hold()) is not None:
                yield from delay.__await__()
        except GeneratorExit:
            coro.close()
            raise
        except BaseException as exc:  # handed on, not handled
            resume, answer, raised = coro.throw, exc, exc
        else:
            resume = coro.send
            raised = answer.error if isinstance(answer, outcome.Error) else None  # trio sends even what it raises
