"""The cancel scopes that a task waits in: found on its stack, where ``with`` keeps what it will call at the end.

No event loop lists them. Python's garbage collector does say what a suspended coroutine holds.
"""

import gc
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import MethodType
from typing import Any, Final

from trioserve._connection import await_chain, is_machinery
from trioserve._streams import ScopeView

__all__ = ["as_scope", "entered_scopes"]

_EXITS: Final = ("__exit__", "__aexit__")
_NESTING: Final = 4  # of context managers made of generators, such as trio.fail_after


class AsyncioTimeout:
    """``asyncio.timeout()`` as the scope that it is."""

    shield = False

    def __init__(self, timeout: Any) -> None:
        self.key = timeout

    @property
    def deadline(self) -> float:
        when: float | None = self.key.when()
        return float("inf") if when is None else when

    @property
    def cancel_called(self) -> bool:
        return bool(self.key.expired())

    def cancel(self, reason: str | None = None) -> None:
        self.key.reschedule(0.0)


def entered_scopes(coro: object) -> list[tuple[object, ScopeView]]:
    """Scopes around what ``coro`` waits for, outermost first, each with the object that it is.

    Not those in which the machinery itself waits, such as the one in ``trio.sleep``.
    """
    links = [link for link, frame in await_chain(coro) if frame is not None and not is_machinery(frame)]
    return [found for link in links for found in _scopes_held(link, _NESTING)]


def as_scope(manager: Any) -> ScopeView:
    """What ``entered_scopes`` gives for this object."""
    scope: ScopeView = AsyncioTimeout(manager) if type(manager).__module__ == "asyncio.timeouts" else manager
    return scope


def _scopes_held(link: object, nesting: int) -> Iterator[tuple[object, ScopeView]]:
    for held in gc.get_referents(link):
        if isinstance(held, MethodType) and held.__name__ in _EXITS:
            yield from _scopes_of(held.__self__, nesting)


def _scopes_of(manager: object, nesting: int) -> Iterator[tuple[object, ScopeView]]:
    """The manager itself, or those that the generator holds which it was made of."""
    kind = type(manager)
    is_scope = kind.__name__ == "CancelScope" and kind.__module__.partition(".")[0] in ("trio", "anyio")
    if is_scope or kind.__module__ == "asyncio.timeouts":
        yield manager, as_scope(manager)
    elif nesting and isinstance(manager, (AbstractContextManager, AbstractAsyncContextManager)):
        generator = getattr(manager, "gen", None)
        if generator is not None:
            yield from _scopes_held(generator, nesting - 1)
