"""An event loop of asyncio's in virtual time: whenever every task waits, its clock jumps to the next deadline.

Threads live in real time. So the clock stands still while one works for the loop, and what waits too long is an error.
"""

import asyncio
import contextvars
import math
import selectors
from asyncio.base_events import BaseEventLoop
from collections.abc import Callable, Mapping
from typing import Any, Final

import anyio.to_thread
import sniffio

from trioserve._server.application.wsgi import threads_at_work

__all__ = ["REAL_SECONDS", "VirtualClockLoop", "VirtualTimeStuck"]

REAL_SECONDS: Final = 10.0  # of waiting for a thread or a socket; a test that needs more has no use for virtual time


class VirtualTimeStuck(RuntimeError):
    """Nothing has happened for ten seconds of real time, and no deadline is there that the clock could jump to."""

    def __init__(self, threads: int) -> None:
        cause = (
            f"{threads} threads work for the event loop, and threads live in real time" if threads else
            "every task waits, none of them for a time: for each other, or for a real socket or process")
        super().__init__(
            f"virtual time stands still, and nothing has happened for {REAL_SECONDS:g} s of real time: {cause}. "
            "Run this test on a real clock, or find the task that nobody wakes.")


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """Its ``time()`` stands still while there is something to do. Then it jumps to the next deadline.

    It is what ``asyncio.Runner(loop_factory=VirtualClockLoop)`` takes. The time stands still as well while a thread
    works in ``run_in_executor``, ``asyncio.to_thread``, for a WSGI application or, with the usual limiter, in
    ``anyio.to_thread``: so what a thread takes is no time at all. Real sockets do not stop the clock.

    Raises:
        VirtualTimeStuck: out of ``run_until_complete``, when nothing can happen any more.
    """

    def __init__(self) -> None:
        self.now = 1000.0  # seconds
        self.when_idle: list[asyncio.Future[None]] = []
        self._in_executors = 0
        self._context = contextvars.Context()  # that of a task, for whoever asks which library is running
        self._context.run(sniffio.current_async_library_cvar.set, "asyncio")
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self.now

    def call_at(  # type: ignore[override]  # typeshed: with TypeVarTuple
        self, when: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """As usual; what is due in an eternity, as in ``anyio.sleep_forever()``, is no deadline to jump to."""
        if when == math.inf:
            return asyncio.TimerHandle(when, callback, args, self, context)
        return super().call_at(when, callback, *args, context=context)

    def wake_settled(self) -> bool:
        """Wake whoever waits for the loop to be idle; false when nobody does."""
        waiting, self.when_idle = self.when_idle, []
        for idle in waiting:
            if not idle.done():
                idle.set_result(None)
        return bool(waiting)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]  # typeshed: an awaitable
        future: asyncio.Future[Any] = super().run_in_executor(executor, func, *args)
        self._in_executors += 1
        future.add_done_callback(self._executor_is_done)
        return future

    def _executor_is_done(self, _: object) -> None:
        self._in_executors -= 1

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  # asyncio's
        """As usual, but without a limit: a thread joins the others, in real time."""
        self._in_executors += 1
        try:
            await BaseEventLoop.shutdown_default_executor(self)
        finally:
            self._in_executors -= 1

    def threads_at_work(self) -> int:
        """How many threads the tasks of this loop wait for, as far as can be known."""
        limiter = self._context.run(anyio.to_thread.current_default_thread_limiter)
        in_limiter = self._context.run(lambda: limiter.borrowed_tokens)
        return self._in_executors + int(in_limiter) + threads_at_work()


class _JumpingSelector(selectors.BaseSelector):
    """Passes everything on, but for the waiting."""

    def __init__(self, loop: VirtualClockLoop) -> None:
        self._loop = loop
        self._real = selectors.DefaultSelector()
        self._has_given_up = False  # what is cancelled then needs its deadlines, whatever threads do

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if ready or timeout == 0 or self._loop.wake_settled():
            return ready
        threads = self._loop.threads_at_work()
        if timeout is not None and (not threads or self._has_given_up):
            self._loop.now += timeout
            return []
        ready = self._real.select(REAL_SECONDS)
        if not ready:
            self._has_given_up = True
            raise VirtualTimeStuck(threads)
        return ready

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()
