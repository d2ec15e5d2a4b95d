"""The end of the process: it comes in time, although threads of the application may hold it up.

Python waits for every thread that is no daemon, and for those of pools (``concurrent.futures``) in any case; an event
loop waits for a request whose plain function runs in a thread. None can be cancelled. So a thread of our own, which
needs no event loop, sees to it that the process ends.
"""

import logging
import math
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from trioserve._complaints import complain
from trioserve._errors import TrioserveError
from trioserve._supervisor.signals import Stoppable
from trioserve._threads import OURS, start_thread

__all__ = ["DepartingServer", "Departure"]

SPARE_SECONDS: Final = 3.0  # beyond the budget, for a server that still stops; a lifespan may get two of them
THREADS_SECONDS: Final = 2.0  # for threads, if nothing is left of the budget, as for the lifespan
FORCED_SECONDS: Final = 5.0  # for the server to end once it does not wait for requests any longer
AT_ONCE_SECONDS: Final = 0.5  # for what ends by itself anyway: exit functions of the application are worth that much
QUIET_SECONDS: Final = 1.0  # most threads end in this time; then it is said who is waited for
FAREWELL_SECONDS: Final = 2.0  # for the last line, because whoever reads the log may have stopped to
NAMED: Final = 5  # threads in a line of the log
UNFINISHED: Final = 1  # the exit code, if the server itself had not come to its end

log = logging.getLogger("trioserve")


class Departure:
    """Ends this process if it does not end in time by itself.

    Args:
        budget: seconds that a shutdown may take, ``math.inf`` for ever.

    Attributes:
        ends_process: the process has nothing to do but to serve. The process of a program only has to end if its
            server was told to stop, and not before the program has.
    """

    def __init__(self, budget: float, *, ends_process: bool) -> None:
        self.ends_process = ends_process
        self._budget = budget
        self._budget_ends = math.inf  # by time.monotonic(), like the two below
        self._deadline = math.inf
        self._says_at = math.inf  # who is waited for
        self._is_watched = False
        self._news: queue.SimpleQueue[None] = queue.SimpleQueue()  # for the thread that watches, also from a handler
        self._was_told = False
        self._hurries = 0
        self._server_ended = False
        self._exit_code = UNFINISHED
        self._failure = ""

    # What happens to the process.

    def told_to_stop(self, within: float = math.inf) -> None:
        """The process has been told to stop, from outside; ``within`` takes the place of the budget if it is less."""
        self._was_told = True
        self._begin(min(within, self._budget))

    def hurry(self, number: int = 0, frame: object = None) -> None:
        """It has been told again. Can be a signal handler."""
        self._hurries += 1
        seconds = FORCED_SECONDS if self._hurries == 1 and not self._server_ended else AT_ONCE_SECONDS
        self._deadline = min(self._deadline, time.monotonic() + seconds)
        self._news.put(None)

    def server_has_ended(self, failure: BaseException | None = None) -> None:
        """Only the application's threads can hold up the process from now on. ``failure`` is why the server ended."""
        self._server_ended = True
        if failure is None:
            self._exit_code = 0
        elif isinstance(failure, TrioserveError):
            self._exit_code, self._failure = failure.exit_code, f"; {failure}"
        if self._is_expected:
            self._begin(self._budget)
            self._wait_for_threads()
            _call_before_threads_are_joined(_let_daemons_of_pools_go)

    def event_loop_has_ended(self) -> None:
        """So the program goes on. Time runs again when Python ends: it waits for threads then."""
        self._deadline = self._says_at = math.inf
        if not self.ends_process:  # what the program does from now on has nothing to do with the server
            self._budget_ends = math.inf
        if self._is_expected:
            _call_before_threads_are_joined(self._python_ends)

    @property
    def _is_expected(self) -> bool:
        return self.ends_process or self._was_told

    def _python_ends(self) -> None:
        self._budget_ends = min(self._budget_ends, time.monotonic() + self._budget)
        self._wait_for_threads()

    def _wait_for_threads(self) -> None:
        now = time.monotonic()
        ends = now + AT_ONCE_SECONDS if self._hurries else max(self._budget_ends, now + THREADS_SECONDS)
        self._deadline = min(self._deadline, ends)
        self._says_at = now + QUIET_SECONDS
        self._news.put(None)

    # The threads that watch. They begin early, because none can begin once Python ends.

    def _begin(self, seconds: float) -> None:
        if not self._is_watched:
            self._is_watched = True
            self._budget_ends = time.monotonic() + seconds
            self._deadline = min(self._deadline, self._budget_ends + SPARE_SECONDS)
            wanted: queue.SimpleQueue[None] = queue.SimpleQueue()
            said: queue.SimpleQueue[None] = queue.SimpleQueue()
            start_thread(self._say_farewell, wanted, said)
            start_thread(self._end_in_time, wanted, said)

    def _end_in_time(self, farewell: "queue.SimpleQueue[None]", said: "queue.SimpleQueue[None]") -> None:
        while (now := time.monotonic()) < self._deadline:
            if now >= self._says_at:
                self._says_at = math.inf
                self._say_who_is_waited_for(self._deadline - now)
            with suppress(queue.Empty):
                self._news.get(timeout=max(0.0, min(self._deadline, self._says_at, now + threading.TIMEOUT_MAX) - now))
        farewell.put(None)
        with suppress(queue.Empty):
            said.get(timeout=FAREWELL_SECONDS)
        os._exit(self._exit_code)

    def _say_who_is_waited_for(self, seconds: float) -> None:
        if names := self._threads():
            how_long = f"{seconds:.0f} s at most" if seconds < math.inf else "for as long as they take"
            complain(log, "Waiting for threads of the application, %s; another signal ends them: %s", how_long, names,
                     level=logging.WARNING)

    def _say_farewell(self, wanted: "queue.SimpleQueue[None]", said: "queue.SimpleQueue[None]") -> None:
        wanted.get()
        complain(log, "The process ends without waiting any longer for %s%s",
                 self._threads() or "its exit functions", self._failure, level=logging.WARNING)
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # there is none, or nobody reads it
                stream.flush()
        said.put(None)

    def _threads(self) -> str:
        """Those that hold up the process, by name and where they stand; other daemons can only hold up the server."""
        frames, of_pools = sys._current_frames(), _threads_of_pools()
        names = [
            f"{thread.name} ({Path(frame.f_code.co_filename).name}:{frame.f_lineno})"
            for thread in threading.enumerate()
            if thread is not threading.main_thread() and thread.name != OURS
            and not (thread.daemon and self._server_ended and thread not in of_pools)
            and (frame := frames.get(thread.ident or 0)) is not None
        ]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        return ", ".join(names[:NAMED]) + more


def _call_before_threads_are_joined(function: Callable[[], None]) -> None:
    """When Python ends; atexit functions are called after that."""
    threading._register_atexit(function)  # type: ignore[attr-defined]  # private to Python


# The threads of pools. They are daemons if the thread that needed them first is one.


def _threads_of_pools() -> MutableMapping[threading.Thread, Any]:
    """Those that Python joins at its end, daemons or not, each with the queue of its work."""
    module = sys.modules.get("concurrent.futures.thread")
    return getattr(module, "_threads_queues", {})  # private to Python


def _let_daemons_of_pools_go() -> None:
    """Their author has said that nobody need wait for them, and Python waits all the same: for ever, if need be."""
    of_pools = _threads_of_pools()
    daemons = {thread: work for thread, work in list(of_pools.items()) if _is_daemon_by_intent(thread)}
    for work in daemons.values():
        work.put(None)  # as Python does: an idle thread ends
    ends = time.monotonic() + AT_ONCE_SECONDS
    for thread in daemons:
        thread.join(max(0.0, ends - time.monotonic()))
        of_pools.pop(thread, None)


def _is_daemon_by_intent(thread: threading.Thread) -> bool:
    """trio's threads, in which plain functions run, are daemons, and so are those of pools that they have filled.

    Nobody has said that of these. A pool of asyncio's own is none of them: a loop in a thread of trio's waits for it.
    """
    return thread.daemon and ("trio" not in sys.modules or thread.name.startswith("asyncio_"))


class DepartingServer:
    """A server whose process ends with it: passes on what it is asked, and watches the time."""

    def __init__(self, server: Stoppable, departure: Departure) -> None:
        self._server = server
        self._departure = departure

    def request_shutdown(self, reason: str, *, settle: float = 0.0) -> None:
        self._departure.told_to_stop()
        self._server.request_shutdown(reason, settle=settle)

    def force_shutdown(self) -> None:
        self._departure.hurry()
        self._server.force_shutdown()
