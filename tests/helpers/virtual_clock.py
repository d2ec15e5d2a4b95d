"""Backends whose clock jumps to the next deadline whenever everybody waits: an hour's timeout costs a millisecond.

Trio brings such a clock. For asyncio it is a selector that, instead of sleeping, moves the time of its loop.
"""

import asyncio
import selectors
from collections.abc import Mapping
from typing import Any, TypeAlias

import trio.testing

__all__ = ["Backend", "VirtualClockLoop", "virtual_backend"]

Backend: TypeAlias = tuple[str, dict[str, Any]]
"""A backend's name and options, as anyio's pytest plugin takes them."""


def virtual_backend(name: str) -> Backend:
    if name == "trio":
        return name, {"clock": trio.testing.MockClock(autojump_threshold=0)}
    return name, {"loop_factory": VirtualClockLoop}


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """Its ``time()`` stands still while there is something to do."""

    def __init__(self) -> None:
        self.now = 1000.0  # seconds
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self.now


class _JumpingSelector(selectors.BaseSelector):
    """Passes everything on, but for the waiting."""

    def __init__(self, loop: VirtualClockLoop) -> None:
        self._loop = loop
        self._real = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:  # no deadline at all: only a thread or a socket can end this wait
            return self._real.select(None)
        ready = self._real.select(0)
        if not ready:
            self._loop.now += timeout
        return ready

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()
