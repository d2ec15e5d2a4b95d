"""Backends whose clock jumps to the next deadline whenever everybody waits: an hour's timeout costs a millisecond.

Trio brings such a clock. For asyncio it is a selector that, instead of sleeping, moves the time of its loop.
"""

import asyncio
import selectors
from collections.abc import Mapping
from typing import Any, TypeAlias

import sniffio
import trio
import trio.testing

__all__ = ["Backend", "VirtualClockLoop", "clock_is_virtual", "settled", "virtual_backend"]

Backend: TypeAlias = tuple[str, dict[str, Any]]
"""A backend's name and options, as anyio's pytest plugin takes them."""


def virtual_backend(name: str) -> Backend:
    if name == "trio":
        return name, {"clock": trio.testing.MockClock(autojump_threshold=0)}
    return name, {"loop_factory": VirtualClockLoop}


def clock_is_virtual() -> bool:
    """Called in a running event loop."""
    if sniffio.current_async_library() == "trio":
        return isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock)
    return isinstance(asyncio.get_running_loop(), VirtualClockLoop)


async def settled() -> None:
    """Wait until nothing can happen any more without time passing."""
    if sniffio.current_async_library() == "trio":
        await trio.testing.wait_all_tasks_blocked()
        return
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualClockLoop)
    idle = loop.create_future()
    loop.when_idle.append(idle)
    await idle


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """Its ``time()`` stands still while there is something to do."""

    def __init__(self) -> None:
        self.now = 1000.0  # seconds
        self.when_idle: list[asyncio.Future[None]] = []
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self.now

    def wake_settled(self) -> bool:
        """Wake whoever waits for the loop to be idle; false when nobody does."""
        waiting, self.when_idle = self.when_idle, []
        for idle in waiting:
            if not idle.done():
                idle.set_result(None)
        return bool(waiting)


class _JumpingSelector(selectors.BaseSelector):
    """Passes everything on, but for the waiting."""

    def __init__(self, loop: VirtualClockLoop) -> None:
        self._loop = loop
        self._real = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if ready or timeout == 0 or self._loop.wake_settled():
            return ready
        if timeout is None:  # no deadline at all: only a thread or a socket can end this wait
            return self._real.select(None)
        self._loop.now += timeout
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()
