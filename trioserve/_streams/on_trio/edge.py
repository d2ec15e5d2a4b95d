"""Streams on trio that share one edge-triggered epoll (Linux).

trio's own readiness costs one ``epoll_ctl`` per wait, which is about 2 of 10 us of a small request.
"""

import select
import socket
import sys
from typing import Any, Final

import outcome
import trio
from trio.lowlevel import current_task, reschedule, wait_task_rescheduled

from trioserve._errors import ClientDisconnected
from trioserve._streams.cork import Cork
from trioserve._streams.forked_children import FORKED_CHILDREN
from trioserve._streams.interface import RECEIVE_BYTES, Address, WaitingTasks
from trioserve._streams.on_trio.plain import TrioStream
from trioserve._streams.on_trio.waiting import WOKEN
from trioserve._streams.sockets import peek_end

__all__ = ["EdgePoller", "EdgeStream"]

if sys.platform == "linux":
    _ENDED: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
    _READABLE: Final = select.EPOLLIN | _ENDED
    _WRITABLE: Final = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR
    _EDGES: Final = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
else:  # the module is imported, and nothing in it is used
    _ENDED = _READABLE = _WRITABLE = _EDGES = 0

WOKEN_AT_ONCE: Final = 256  # tasks; what they have touched shall still be in the cache when their responses leave


def _new_epoll() -> Any:
    if sys.platform != "linux":
        raise NotImplementedError("epoll is Linux's")
    return select.epoll()


class EdgePoller:
    """One epoll for all connections of a server: wakes the tasks whose sockets have news."""

    def __init__(self, cork: Cork) -> None:
        self._epoll: Any = _new_epoll()
        self._streams: dict[int, EdgeStream] = {}
        self.cork = cork

    def register(self, fd: int, stream: "EdgeStream") -> None:
        self._streams[fd] = stream
        self._epoll.register(fd, _EDGES)

    def forget(self, fd: int) -> None:
        """Before ``close``, which takes the descriptor out of the epoll, unless a forked child has the socket, too.

        Then the next connection of that number would hear what happens to this one.
        """
        if self._streams.pop(fd, None) is not None and FORKED_CHILDREN.may_live:
            self._epoll.unregister(fd)

    async def run(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            ready = self._epoll.poll(0, WOKEN_AT_ONCE)
            pulls_out = False
            if len(ready) > 1 and (pulls_out := not self.cork.is_in):
                self.cork.push_in()
            for fd, events in ready:
                if (stream := self._streams.get(fd)) is not None:
                    stream.notice(events)
            if pulls_out:
                await self.let_them_run()

    async def let_them_run(self) -> None:
        """When every woken task has run, send what they have sent."""
        # Trio runs what is scheduled in one turn, in either order: in the next turn, or at last in the one after it,
        # every woken task has run.
        await trio.lowlevel.cancel_shielded_checkpoint()
        await trio.lowlevel.cancel_shielded_checkpoint()
        self.cork.pull_out()

    def close(self) -> None:
        self._streams.clear()
        self._epoll.close()


class EdgeStream(TrioStream):
    """Linux: readiness comes from the shared epoll, once per change.

    ``_readable`` is what was last known; a ``recv`` that fills less than its buffer has emptied the socket, and the
    next byte will be a new edge (epoll(7)). ``_ended`` stays: after it every ``recv`` returns at once.
    """

    __slots__ = ("_ended", "_poller", "_readable", "_reader", "_registered", "_told_of_end", "_watchers")

    def __init__(self, sock: socket.socket, peer: Address | None, local: Address | None, poller: EdgePoller) -> None:
        super().__init__(sock, peer, local, poller.cork)
        self._poller = poller
        self._registered = False  # a short connection never needs the epoll
        self._readable = True  # worth a try: clients send right after they connect
        self._ended = False
        self._reader: trio.lowlevel.Task | None = None
        self._watchers: trio.Event | None = None
        self._told_of_end: WaitingTasks | None = None

    def notice(self, events: int) -> None:
        """The epoll has news: note it, and wake who waits for it."""
        if events & _ENDED:
            self._ended = True
            self._tell_end()
        if events & _READABLE:
            self._readable = True
            if self._reader is not None:
                reschedule(self._reader, WOKEN)
                self._reader = None
        if self.congested and events & _WRITABLE:
            self._flush()

    def receive_nowait(self, max_bytes: int = RECEIVE_BYTES) -> bytes | None:
        data = self._receive(max_bytes)
        self._readable = self._ended or (data is not None and len(data) == max_bytes)
        return data

    async def receive_some(self, max_bytes: int = RECEIVE_BYTES) -> bytes:
        while True:
            if not self._readable:
                if self._reader is not None:
                    raise trio.BusyResourceError("another task is receiving from this connection")
                self._register()
                self._reader = current_task()
                interrupted = await wait_task_rescheduled(self._stop_waiting)
                if self.lost:
                    raise ClientDisconnected("the connection was closed")
                if interrupted:
                    return self.receive_nowait(max_bytes) or b""
            data = self._receive(max_bytes)  # as receive_nowait does, which one call more would ask
            if data is not None:
                self._readable = len(data) == max_bytes or self._ended
                return data
            self._readable = self._ended

    def _stop_waiting(self, _: Any) -> trio.lowlevel.Abort:
        self._reader = None
        return trio.lowlevel.Abort.SUCCEEDED

    def interrupt(self) -> None:
        if self._reader is not None:
            reschedule(self._reader, outcome.Value(True))
            self._reader = None

    def is_disconnected(self) -> bool:
        return self.lost or peek_end(self._sock)

    async def wait_disconnected(self) -> None:
        if not self._ended and not self.lost:
            self._register()
            if self._watchers is None:
                self._watchers = trio.Event()
            await self._watchers.wait()

    def wakes_at_end(self, tasks: WaitingTasks) -> bool:
        if self._ended or self.lost:
            return False
        self._register()
        self._told_of_end = tasks
        return True

    def _tell_end(self) -> None:
        if self._watchers is not None:
            self._watchers.set()
        if self._told_of_end is not None:
            self._told_of_end.wake()

    def _register(self) -> None:
        if not self._registered:
            self._registered = True
            self._poller.register(self._sock.fileno(), self)

    def _flush_when_writable(self) -> None:
        self._register()  # the next edge calls _flush

    async def _wait_writable(self) -> None:
        self._register()
        self._note_congested()  # which the next edge ends, with nothing to flush
        try:
            await self.drain()
        finally:
            self._note_drained()

    def _close(self) -> None:
        if self._registered:
            self._registered = False
            self._poller.forget(self._sock.fileno())
        self._readable = True  # who asks now shall not wait, but be told
        super()._close()
        if self._reader is not None:
            reschedule(self._reader, WOKEN)
            self._reader = None
        self._tell_end()
