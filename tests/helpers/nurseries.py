"""Nurseries of each backend, opened in each way, and tasks started in them in each way."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Final, TypeAlias

import anyio
import pytest

from tests.helpers.stream_pairs import PLAIN_KINDS
from trioserve._streams import CancellableNursery, Nursery, open_network

__all__ = ["NURSERY_KINDS", "OPENINGS", "WAYS", "Opening", "Start", "Worker", "child_nursery", "one_way"]

NURSERY_KINDS: Final = [kind for kind in PLAIN_KINDS if kind.name in ("trio-edge", "asyncio", "uvloop")]

Opening: TypeAlias = Callable[[], AbstractAsyncContextManager[Nursery]]
Start: TypeAlias = Callable[..., object]
"""Takes a nursery, and what its ``start_soon`` takes."""


def open_for_a_block() -> AbstractAsyncContextManager[Nursery]:
    return open_network().open_nursery()


@asynccontextmanager
async def child_nursery() -> AsyncIterator[CancellableNursery]:
    """A nursery in a nursery, whose function ends when the block does."""
    async with open_network().open_nursery() as outer:
        begun, left = anyio.Event(), anyio.Event()

        async def wait(_: Nursery) -> None:
            begun.set()
            await left.wait()

        child = outer.start_nursery(wait)
        await begun.wait()
        try:
            yield child
        finally:
            left.set()


OPENINGS: Final[dict[str, Opening]] = {"block": open_for_a_block, "child": child_nursery}

WAYS: Final = ("soon", "inside", "inside without adoption", "at once")


def one_way(name: str, monkeypatch: pytest.MonkeyPatch) -> Start:
    """How to start a task; without adoption it is as if anyio's own affairs had changed."""
    if name == "soon":
        return lambda nursery, *args: nursery.start_soon(*args)
    if name == "at once":
        return lambda nursery, function, *args: nursery.start_at_once(partial(function, *args))
    if name == "inside without adoption":
        monkeypatch.setattr("trioserve._streams.on_asyncio.nursery.ADOPTS", False)
    return lambda nursery, *args: nursery.start_inside(*args)


class Worker:
    """A task that waits until it is told to end, or is cancelled."""

    def __init__(self) -> None:
        self.begun = anyio.Event()
        self.may_end = anyio.Event()
        self.outcome = ""

    async def __call__(self, *names: str) -> None:
        self.begun.set()
        try:
            await self.may_end.wait()
            self.outcome = "".join(names) or "ended"
        except anyio.get_cancelled_exc_class():
            self.outcome = "cancelled"
            raise
