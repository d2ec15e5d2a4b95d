"""Virtual time on either backend: an hour's timeout costs a millisecond, and the order of events is always the same.

Trio brings its clock, ``MockClock``; for asyncio it is the loop of ``virtual_loop``.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import anyio
import sniffio

from trioserve.testing.virtual_loop import VirtualClockLoop, VirtualTimeStuck

__all__ = [
    "Backend", "Elapsed", "clock_is_virtual", "real_waits_bounded", "run_in_virtual_time", "seconds_passed", "settled",
    "virtual_backend",
]  # fmt: skip

T = TypeVar("T")

Backend: TypeAlias = tuple[str, dict[str, Any]]
"""A backend's name and options, as anyio's pytest plugin takes them."""


def virtual_backend(name: str) -> Backend:
    """The backend ``"trio"`` or ``"asyncio"`` with a virtual clock, for the fixture ``anyio_backend``."""
    if name == "trio":
        import trio.testing  # of no use on asyncio

        return name, {"clock": trio.testing.MockClock(autojump_threshold=0)}
    if name == "asyncio":
        return name, {"loop_factory": VirtualClockLoop}
    raise ValueError(f"there is no backend {name!r}: 'trio' and 'asyncio' have a virtual clock")


def run_in_virtual_time(function: Callable[..., Awaitable[T]], *args: Any, backend: str = "trio") -> T:
    """``await function(*args)`` in an event loop of its own, whose clock is virtual; returns what it returns.

    Raises:
        VirtualTimeStuck: nothing can happen any more.
    """
    name, options = virtual_backend(backend)

    async def run() -> T:
        with real_waits_bounded():
            return await function(*args)

    return anyio.run(run, backend=name, backend_options=options)


@contextmanager
def real_waits_bounded() -> Iterator[None]:
    """Let threads stop the virtual clock of trio, if it has one, for the length of a block.

    The virtual loop of asyncio does the same by itself, and raises by itself.

    Raises:
        VirtualTimeStuck: nothing could happen any more, so the block was cancelled.
    """
    if sniffio.current_async_library() != "trio" or not clock_is_virtual():
        yield
        return
    import trio.testing

    from trioserve.testing.trio_watch import threads_stop_the_clock

    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock)
    errors: list[VirtualTimeStuck] = []
    with anyio.CancelScope() as scope:

        def give_up(stuck: VirtualTimeStuck) -> None:
            errors.append(stuck)
            scope.cancel()

        with threads_stop_the_clock(clock, give_up):
            yield
    if errors:
        raise errors[0]


def clock_is_virtual() -> bool:
    """Whether the running event loop has a clock that jumps by itself. Called in a task."""
    if sniffio.current_async_library() == "trio":
        import trio.testing

        clock = trio.lowlevel.current_clock()
        return isinstance(clock, trio.testing.MockClock) and clock.autojump_threshold < math.inf
    return isinstance(asyncio.get_running_loop(), VirtualClockLoop)


async def settled() -> None:
    """Wait until nothing can happen any more without time passing.

    Raises:
        RuntimeError: on asyncio, the loop is no ``VirtualClockLoop``.
    """
    if sniffio.current_async_library() == "trio":
        import trio.testing

        await trio.testing.wait_all_tasks_blocked()
        return
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualClockLoop):
        raise RuntimeError("settled() needs a VirtualClockLoop: other loops of asyncio do not tell when they are idle")
    idle = loop.create_future()
    loop.when_idle.append(idle)
    await idle


@dataclass
class Elapsed:
    """Seconds that have passed in a block, once it has ended."""

    seconds: float = 0.0


class seconds_passed:  # reads as a phrase: with seconds_passed() as elapsed
    """Measures a block by the clock of the event loop: ``with seconds_passed() as elapsed: ...``."""

    def __enter__(self) -> Elapsed:
        self._began = anyio.current_time()
        self._elapsed = Elapsed()
        return self._elapsed

    def __exit__(self, *exc_info: object) -> None:
        self._elapsed.seconds = anyio.current_time() - self._began
