"""Threads and trio's ``MockClock``: the clock stands still while a thread works, and what waits too long is an error.

The virtual loop of asyncio sees to both by itself.
"""

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio
import trio.abc
import trio.testing

from trioserve._server.application.wsgi import threads_at_work
from trioserve.testing import virtual_loop
from trioserve.testing.virtual_loop import VirtualTimeStuck

__all__ = ["threads_stop_the_clock"]

log = logging.getLogger("trioserve")

OnStuck = Callable[[VirtualTimeStuck], None]

_watch_of_run: trio.lowlevel.RunVar["_Watch"] = trio.lowlevel.RunVar("trioserve_virtual_time")


@contextmanager
def threads_stop_the_clock(clock: trio.testing.MockClock, on_stuck: OnStuck) -> Iterator[None]:
    """For the length of a block ``clock`` jumps only while no thread works.

    Seen are those of WSGI applications and, with the usual limiter, of ``trio.to_thread`` and ``anyio.to_thread``.
    ``on_stuck`` is called when nothing has happened for too long. Blocks may overlap.
    """
    try:
        watch = _watch_of_run.get()
    except LookupError:
        watch = _Watch(clock)
        _watch_of_run.set(watch)
    if not watch.listeners:
        watch.begin()
    watch.listeners.append(on_stuck)
    try:
        yield
    finally:
        watch.listeners.remove(on_stuck)
        if not watch.listeners:
            watch.end()


class _Watch(trio.abc.Instrument):
    """Sees every step of every task.

    Attributes:
        listeners: whom to tell when nothing happens any more.
    """

    def __init__(self, clock: trio.testing.MockClock) -> None:
        self.listeners: list[OnStuck] = []
        self._clock = clock
        self._threshold = clock.autojump_threshold
        self._limiter = trio.to_thread.current_default_thread_limiter()
        self._token = trio.lowlevel.current_trio_token()
        self._patience: threading.Timer | None = None  # while threads work
        self._idle_since: float | None = None  # real time
        self._has_given_up = False  # what has been cancelled needs its deadlines, whatever threads do

    def begin(self) -> None:
        trio.lowlevel.add_instrument(self)

    def end(self) -> None:
        trio.lowlevel.remove_instrument(self)
        self._release()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._idle_since = None
        if not self._has_given_up and (self._limiter.borrowed_tokens or threads_at_work()):
            self._hold()
        else:
            self._release()

    def before_io_wait(self, timeout: float) -> None:
        """Without a deadline MockClock lets the run loop turn; with one it would have jumped, and a task gone on."""
        now = time.monotonic()
        if self._idle_since is None:
            self._idle_since = now
        elif now - self._idle_since > virtual_loop.REAL_SECONDS and self._patience is None:
            self._idle_since = None
            self._say_stuck()

    def _hold(self) -> None:
        if self._patience is None:
            self._clock.autojump_threshold = math.inf
            self._patience = threading.Timer(virtual_loop.REAL_SECONDS, self._call_say_stuck)
            self._patience.daemon = True
            self._patience.start()

    def _release(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
            self._clock.autojump_threshold = self._threshold

    def _call_say_stuck(self) -> None:
        with contextlib.suppress(trio.RunFinishedError):  # the thread has ended at last, and everything else, too
            self._token.run_sync_soon(self._say_stuck)

    def _say_stuck(self) -> None:
        self._has_given_up = True
        stuck = VirtualTimeStuck(self._limiter.borrowed_tokens + threads_at_work())
        log.critical("%s", stuck)  # the error itself waits until the thread has ended
        for tell in list(self.listeners):
            tell(stuck)
