"""Sockets and threads that are there when the event loop has ended, and were not before the application began."""

import sys
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures.thread import _worker as pool_worker  # its code tells who idles
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from trioserve._threads import OURS
from trioserve._trial import Finding, place_of_frame

if TYPE_CHECKING:
    import socket

__all__ = ["Leftovers"]

ENDS_BY_ITSELF: Final = (OURS, "Trio thread", "AnyIO worker thread", "asyncio_")  # idle, and kept for the next call
JOIN_SECONDS: Final = 1.0


class Leftovers:
    """Counts from ``begin`` on. Python tells it of every socket.

    What the application's modules open while they are imported is the process's, and not the lifespan's.
    """

    def __init__(self) -> None:
        self._threads: set[threading.Thread] | None = None  # those that were there at the beginning
        self._sockets: list[tuple[weakref.ref[socket.socket], str]] = []
        sys.addaudithook(self._on_event)

    def begin(self) -> None:
        self._threads = set(threading.enumerate())

    def _on_event(self, event: str, args: tuple[Any, ...]) -> None:
        if self._threads is None or event != "socket.__new__":
            return
        if where := place_of_frame(sys._getframe(1)):
            self._sockets.append((weakref.ref(args[0]), where))

    def findings(self) -> Iterator[Finding]:
        for ref, where in self._sockets:
            found = ref()
            if found is not None and found.fileno() != -1:
                yield Finding("left-behind", "a socket is still open after the shutdown", where)
        for thread in threading.enumerate():
            if thread in (self._threads or ()) or thread.name.startswith(ENDS_BY_ITSELF):
                continue
            thread.join(JOIN_SECONDS)
            frame = sys._current_frames().get(thread.ident or 0)
            if thread.is_alive() and not _idles_in_pool(frame):
                yield Finding("left-behind", f"the thread {thread.name} runs on after the shutdown",
                              place_of_frame(frame))


def _idles_in_pool(frame: FrameType | None) -> bool:
    """It is a worker of a ``ThreadPoolExecutor``, and waits for work. Python ends it with the process."""
    return frame is not None and frame.f_code is pool_worker.__code__
