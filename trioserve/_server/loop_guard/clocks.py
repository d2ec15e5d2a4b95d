"""Why an event loop has not turned, told by clocks: its own work, garbage collection, or no time for the process."""

import gc
import sys
import threading
import time
from enum import Enum, auto
from typing import Any, Final, NamedTuple

__all__ = ["Cause", "Clocks", "Moment", "cause_of"]

SHARE: Final = 0.25  # of a time: who used so much of it was the reason, on a busy machine, too


class Moment(NamedTuple):
    """Readings of all clocks, or the difference of two: seconds.

    Attributes:
        wall: real time.
        process: time of the processor, for all threads of the process.
        loop: the same, for the event loop's thread; ``None`` where the system does not tell.
        collecting: time that garbage collection took.
    """

    wall: float
    process: float
    loop: float | None
    collecting: float

    def since(self, before: "Moment") -> "Moment":
        loop = self.loop - before.loop if self.loop is not None and before.loop is not None else None
        return Moment(
            self.wall - before.wall, self.process - before.process, loop, self.collecting - before.collecting)


class Cause(Enum):
    """Why no thread but one, or none at all, could run Python code for a while."""

    COLLECTION = auto()  # of garbage, which stops all threads
    LOOP = auto()  # the event loop's thread did not let go of the interpreter's lock
    THREAD = auto()  # another thread did not
    NOBODY = auto()  # the process did not run


def cause_of(held_up: Moment) -> Cause:
    """Of a time in which a thread that wanted to run could not."""
    enough = held_up.wall * SHARE
    if held_up.collecting >= enough:
        return Cause.COLLECTION
    if held_up.process < enough:
        return Cause.NOBODY
    return Cause.LOOP if held_up.loop is None or held_up.loop >= enough else Cause.THREAD


class Clocks:
    """For the event loop in whose thread they are made. Garbage collection counts between ``start`` and ``stop``."""

    def __init__(self) -> None:
        self._loop = _clock_of_thread()
        self._collecting = 0.0
        self._collection_began = 0.0

    def start(self) -> None:
        gc.callbacks.append(self._on_collection)

    def stop(self) -> None:
        gc.callbacks.remove(self._on_collection)

    def read(self) -> Moment:
        return Moment(time.monotonic(), time.process_time(), _time_of(self._loop), self._collecting)

    def _on_collection(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._collection_began = time.monotonic()
        else:
            self._collecting += time.monotonic() - self._collection_began


def _clock_of_thread() -> int | None:
    """The clock of this thread's work, ``None`` where other threads cannot read it."""
    if sys.platform in ("win32", "darwin"):
        return None
    return time.pthread_getcpuclockid(threading.get_ident())


def _time_of(clock: int | None) -> float | None:
    if sys.platform == "win32" or clock is None:
        return None
    return time.clock_gettime(clock)
