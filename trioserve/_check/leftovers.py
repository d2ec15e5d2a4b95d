"""Sockets and threads that are there when the event loop has ended, and were not before it began."""

import sys
import threading
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from trioserve._trial import Finding, place_of_frame

if TYPE_CHECKING:
    import socket

__all__ = ["Leftovers"]

ENDS_BY_ITSELF: Final = ("Trio thread", "AnyIO worker thread", "asyncio_")  # idle, and kept for the next call
JOIN_SECONDS: Final = 1.0


class Leftovers:
    """Counts from when it is made. Python tells it of every socket."""

    def __init__(self) -> None:
        self._threads = set(threading.enumerate())
        self._sockets: list[tuple[weakref.ref[socket.socket], str]] = []
        sys.addaudithook(self._on_event)

    def _on_event(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "socket.__new__" and (where := place_of_frame(sys._getframe(1))):
            self._sockets.append((weakref.ref(args[0]), where))

    def findings(self) -> Iterator[Finding]:
        for ref, where in self._sockets:
            found = ref()
            if found is not None and found.fileno() != -1:
                yield Finding("left-behind", "a socket is still open after the shutdown", where)
        for thread in threading.enumerate():
            if thread in self._threads or thread.name.startswith(ENDS_BY_ITSELF):
                continue
            thread.join(JOIN_SECONDS)
            if thread.is_alive():
                frame = sys._current_frames().get(thread.ident or 0)
                yield Finding("left-behind", f"the thread {thread.name} runs on after the shutdown",
                              place_of_frame(frame))
