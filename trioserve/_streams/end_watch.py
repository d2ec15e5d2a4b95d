"""Noticing the end of a connection that nobody reads. Knows no event loop.

A server stops reading when it has received more than it was asked for; event loops then no longer look at the socket,
and do not hear of a reset either. A second epoll looks at nothing but the end (Linux).
"""

import select
import socket
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["EndWatch"]


class EndWatch:
    """The ends of any number of sockets. ``add_reader`` lets an event loop watch the one epoll, ``remove_reader`` not.

    Without epoll it notices nothing; an end is then known when all that came before it has been received.
    """

    def __init__(self, add_reader: Callable[..., Any], remove_reader: Callable[[int], Any]) -> None:
        self._add_reader = add_reader
        self._remove_reader = remove_reader
        self._is_open = True
        self._epoll: Any = None  # a ``select.epoll``, which most servers never need
        self._on_end: dict[int, Callable[[], None]] = {}

    def add(self, sock: socket.socket, on_end: Callable[[], None]) -> None:
        """Call ``on_end``, once, when the peer has finished sending or the connection broke; again: nothing."""
        if sys.platform != "linux":
            return
        fd = sock.fileno()
        if fd in self._on_end or not self._is_open:
            return
        if self._epoll is None:
            self._epoll = select.epoll()
            self._add_reader(self._epoll.fileno(), self._notice)
        self._epoll.register(fd, select.EPOLLRDHUP)
        self._on_end[fd] = on_end

    def forget(self, sock: socket.socket) -> None:
        """Before ``sock`` is closed: its descriptor will be somebody else's."""
        if self._on_end.pop(sock.fileno(), None) is not None:
            self._epoll.unregister(sock.fileno())

    def _notice(self) -> None:
        for fd, _ in self._epoll.poll(0):
            self._epoll.unregister(fd)
            self._on_end.pop(fd)()

    def close(self) -> None:
        """Notice nothing any more."""
        self._is_open = False
        self._on_end.clear()
        if self._epoll is not None:
            self._remove_reader(self._epoll.fileno())
            self._epoll.close()
