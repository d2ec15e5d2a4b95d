"""Notices from outside that the event loop stands still: a thread that looks at it, and asks it to answer.

A loop that waits is not woken: the thread sees that by the loop's stack. A loop that runs something is asked to answer,
which costs it a turn. If it does not answer in time, its stack shows where it stands.
"""

import sys
import threading
from types import FrameType
from typing import Final

import anyio

from trioserve._server.loop_guard.clocks import Cause, Clocks, Moment, cause_of
from trioserve._server.loop_guard.stalls import Stalls
from trioserve._streams import Network
from trioserve._threads import start_thread

__all__ = ["LoopGuard"]

LOOKS: Final = 2  # in the time that the loop may stand still; what takes half as long again is never missed


class LoopGuard:
    """Watches the event loop in which it is made.

    Args:
        seconds: how long the loop may stand still without a word.
        network: of that loop.
        stalls: is told when it stands still for longer.
    """

    def __init__(self, seconds: float, network: Network, stalls: Stalls, clocks: Clocks | None = None) -> None:
        self._limit = seconds
        self._network = network
        self._stalls = stalls
        self._clocks = clocks or Clocks()
        self._loop_thread = threading.get_ident()
        self._stopped = threading.Event()
        self._answered = threading.Event()
        self._is_standing = False  # the loop does, and that has been noticed
        self._not_run = 0.0  # seconds in which the process itself did not run

    async def run(self) -> None:
        """A task: watch until cancelled."""
        self._clocks.start()
        start_thread(self._watch)
        try:
            await anyio.sleep_forever()
        finally:
            self._stopped.set()
            self._answered.set()
            self._clocks.stop()

    # What the thread does.

    def _watch(self) -> None:
        while self._waits_in_vain(self._stopped, self._limit / LOOKS):
            frame = self._innermost_frame()
            if frame is not None and not self._network.is_idle_at(frame):
                del frame  # it may be the application's, whose objects are not to live longer for us
                self._ask()

    def _ask(self) -> None:
        """Let the loop answer. If it does not do so in time, say where it stands, and then how long it has stood."""
        self._answered.clear()
        asked = self._clocks.read()
        try:
            self._network.call_from_thread(self._answered.set)
        except RuntimeError:  # it has ended
            return
        if self._waits_in_vain(self._answered, self._limit):
            self._wait_for_end(asked)

    def _wait_for_end(self, asked: Moment) -> None:
        before = self._not_run
        self._is_standing = True
        self._stalls.begin(self._innermost_frame(), self._clocks.read().since(asked))
        while self._waits_in_vain(self._answered, self._limit):
            pass
        self._is_standing = False
        self._stalls.end(self._clocks.read().wall - asked.wall - (self._not_run - before))

    def _waits_in_vain(self, event: threading.Event, seconds: float) -> bool:
        """Wait; true if ``event`` is not set after ``seconds`` in which this thread could run."""
        while not self._stopped.is_set():
            before = self._clocks.read()
            event.wait(seconds)
            waited = self._clocks.read().since(before)
            if waited.wall < seconds + self._limit:
                return not event.is_set()
            self._on_held_up(waited)
            if event.is_set():
                break
        return False

    def _on_held_up(self, waited: Moment) -> None:
        """This thread could not run, so no other could."""
        cause = cause_of(waited)
        if cause is Cause.NOBODY:
            self._not_run += waited.wall
            self._stalls.process_stood(waited.wall)
        elif not self._is_standing:
            self._stalls.held_up(self._innermost_frame(), waited.wall, cause)

    def _innermost_frame(self) -> FrameType | None:
        return sys._current_frames().get(self._loop_thread)
