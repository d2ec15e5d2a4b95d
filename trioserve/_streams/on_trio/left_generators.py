"""Async generators that an application has begun and left inside of a nursery or a cancel scope.

A client leaves, ``send`` raises, and nobody asks the generator that makes the response for more. Python drops it where
it yields, and trio closes it in a task of its own. But the nursery belongs to the task that has asked for more: that
one ends with an open nursery, or is woken in the place of the other. Then trio's state is broken, and the process ends
(https://github.com/python-trio/trio/issues/638). So the nurseries and scopes of such a generator change their task.

Trio has no public way to do that: the underscores in this file are those of trio 0.32 to 0.35.
"""

import contextlib
import gc
import logging
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from itertools import pairwise
from types import AsyncGeneratorType, MethodType
from typing import Any, Final, NamedTuple

import anyio
import trio

from trioserve._complaints import complain

__all__ = ["close_left_generators"]

log = logging.getLogger("trioserve")

_EXITS: Final = ("__aexit__", "__exit__")
_BY_GENERATOR: Final = (contextlib._GeneratorContextManager, contextlib._AsyncGeneratorContextManager)
_OWN_REFERENCES: Final = 2  # of who counts them: a variable, and an argument


class _Block(NamedTuple):
    """An ``async with`` or ``with`` that a generator is in; ``nursery`` if it is one."""

    scope: trio.CancelScope
    nursery: trio.Nursery | None

    @property
    def status(self) -> Any:
        """How a cancellation gets from the scopes around to those inside."""
        return self.scope._cancel_status


def close_left_generators() -> None:
    """Have trio's finalizer of async generators hand over those that are in a nursery or scope; until the loop ends."""
    finalizer = sys.get_asyncgen_hooks().finalizer
    if finalizer is None or getattr(finalizer, "is_ours", False):
        return
    sys.set_asyncgen_hooks(finalizer=_finalizer_before(finalizer, trio.lowlevel.current_trio_token()))


def _finalizer_before(
    finalizer: Callable[[AsyncGenerator[Any, Any]], object], token: trio.lowlevel.TrioToken
) -> Callable[[AsyncGenerator[Any, Any]], None]:
    def finalize(generator: AsyncGenerator[Any, Any]) -> None:
        if trio.lowlevel.in_trio_task() and (blocks := list(_blocks_of(generator))) and _take_out(blocks):
            token.run_sync_soon(_start_closing, generator, blocks, finalizer)
        else:
            finalizer(generator)

    finalize.is_ours = True  # type: ignore[attr-defined]
    return finalize


# Which blocks.

def _blocks_of(generator: Any) -> Iterator[_Block]:
    """Those that a suspended generator is in, the outermost first; and a generator that only it knows, in the same way.

    What a generator refers to are its variables, and then its stack, on which the exits of its blocks lie in order.
    """
    referents = gc.get_referents(generator)
    for referent in referents:
        if isinstance(referent, MethodType) and referent.__name__ in _EXITS:
            yield from _blocks_at(referent.__self__)
    identities = list(map(id, referents))
    seen: set[int] = set()
    for referent in referents:
        if isinstance(referent, AsyncGeneratorType) and id(referent) not in seen:
            seen.add(id(referent))
            known = identities.count(id(referent))
            if sys.getrefcount(referent) == 2 * known + _OWN_REFERENCES:  # by the generator, and by ``referents``
                yield from _blocks_of(referent)


def _blocks_at(manager: Any) -> Iterator[_Block]:
    if isinstance(manager, _BY_GENERATOR):
        yield from _blocks_of(manager.gen)
    elif isinstance(manager, anyio.abc.TaskGroup):
        yield from _blocks_at(getattr(manager, "_nursery_manager", None))
    elif isinstance(manager, anyio.CancelScope):
        yield from _blocks_at(getattr(manager, "_CancelScope__original", None))
    elif isinstance(manager, trio.CancelScope):
        yield _Block(manager, None)
    elif isinstance(nursery := getattr(manager, "_nursery", None), trio.Nursery):
        yield _Block(nursery.cancel_scope, nursery)


# From task to task.

def _take_out(blocks: Sequence[_Block]) -> bool:
    """Take the task out that is in them. False, and nothing is changed, if they are not its innermost ones."""
    innermost = blocks[-1]
    nurseries = [block.nursery for block in blocks if block.nursery is not None]
    task = nurseries[-1].parent_task if nurseries else trio.lowlevel.current_task()
    is_inside = task._cancel_status is innermost.status and all(
        inner.status is not None and inner.status.parent is outer.status
        for outer, inner in pairwise(blocks))
    if not is_inside or task._child_nurseries[len(task._child_nurseries) - len(nurseries) :] != nurseries:
        return False
    del task._child_nurseries[len(task._child_nurseries) - len(nurseries) :]
    task._activate_cancel_status(blocks[0].status.parent)
    return True


def _put_in(task: trio.lowlevel.Task, blocks: Sequence[_Block]) -> None:
    """The running ``task`` is in them from now on."""
    blocks[0].status.parent = task._cancel_status
    for block in blocks:
        if block.nursery is not None:
            block.nursery._parent_task = task
            task._child_nurseries.append(block.nursery)
    task._activate_cancel_status(blocks[-1].status)


def _start_closing(
    generator: AsyncGenerator[Any, Any], blocks: Sequence[_Block],
    finalizer: Callable[[AsyncGenerator[Any, Any]], object],
) -> None:  # fmt: skip
    name = getattr(generator, "__qualname__", "?")
    complain(log, "The async generator %s was left inside of a nursery or cancel scope, which ends now: "
             "close it with contextlib.aclosing", name, level=logging.WARNING)
    try:
        trio.lowlevel.spawn_system_task(_close, generator, blocks, name=f"close {name}, which was left")
    except RuntimeError:  # trio's run is about to end, and takes no task any more: it has a list of its own
        finalizer(generator)


async def _close(generator: AsyncGenerator[Any, Any], blocks: Sequence[_Block]) -> None:
    with trio.CancelScope(shield=True) as scope:
        scope.cancel()  # as trio does: nobody waits for what it still has to say
        _put_in(trio.lowlevel.current_task(), blocks)
        try:
            await generator.aclose()
        except* (GeneratorExit, trio.Cancelled):
            pass  # what it was closed with, in the group of a nursery
        except* BaseException as failed:  # as trio does: nothing may come out of a task of the system
            complain(log, "An async generator that was left has failed", exc_info=failed)
