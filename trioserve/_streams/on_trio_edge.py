"""Streams on trio that share one edge-triggered epoll (Linux).

trio's own readiness costs one ``epoll_ctl`` per wait, which is about 2 of 10 us of a small request.
"""

import select
import socket
from collections.abc import AsyncGenerator, Generator, Sequence
from typing import Any, ClassVar, Final, TypeVar

import outcome
import trio

from trioserve._errors import ClientDisconnected
from trioserve._streams.interface import RECEIVE_BYTES, Address
from trioserve._streams.on_trio_plain import TrioStream
from trioserve._streams.sockets import peek_end

__all__ = ["EdgePoller", "EdgeStream"]

ResultT = TypeVar("ResultT")

WOKEN_AT_ONCE: Final = 256  # tasks; what they have touched shall still be in the cache when their responses leave
CLOSE_SECONDS: Final = 2.0  # for a peer to take the last bytes of a stream that nobody serves any more


class EdgePoller:
    """One epoll for all connections of a server: wakes the tasks whose sockets have news.

    What the woken tasks send at once is collected and sent when all of them have run. Clients that are idle by then
    are woken once for many responses instead of once for each, which halves the cost of a small request under load.
    """

    MASK: ClassVar = (
        select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET if hasattr(select, "epoll") else 0
    )

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._streams: dict[int, EdgeStream] = {}
        self.closers: trio.Nursery | None = None
        self.corked: list[EdgeStream] | None = None  # a list while several tasks have been woken and not yet run

    def register(self, fd: int, stream: "EdgeStream") -> None:
        self._streams[fd] = stream
        self._epoll.register(fd, self.MASK)

    def close_later(self, stream: "EdgeStream") -> None:
        """``stream`` was closed while it was corked, and then the kernel did not take all of it."""
        assert self.closers is not None
        self.closers.start_soon(stream.close_patiently)

    def forget(self, fd: int) -> None:
        """Before ``close``, which takes the descriptor out of the epoll by itself."""
        self._streams.pop(fd, None)

    async def run(self) -> None:
        try:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                ready = self._epoll.poll(0, WOKEN_AT_ONCE)
                uncorks = False
                if len(ready) > 1 and (uncorks := self.corked is None):
                    self.corked = []
                for fd, events in ready:
                    if (stream := self._streams.get(fd)) is not None:
                        stream.notice(events)
                if uncorks:
                    await self.let_them_run()
        finally:
            self._epoll.close()

    async def let_them_run(self) -> None:
        """When every woken task has run, send what they have sent."""
        # Trio runs what is scheduled in one turn, in either order: in the next turn, or at last in the one after it,
        # every woken task has run.
        await trio.lowlevel.cancel_shielded_checkpoint()
        await trio.lowlevel.cancel_shielded_checkpoint()
        corked, self.corked = self.corked, None
        for stream in corked or ():
            stream.uncork()


_ENDED: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR if hasattr(select, "epoll") else 0


class Woken(outcome.Outcome[None]):
    """``outcome.Value(None)`` for any number of tasks: to make and check one each time is 0.6 of 2 us of waking one."""

    def unwrap(self) -> None:
        """Nothing: there is something to receive, or never will be."""

    def send(self, gen: Generator[ResultT, None, object]) -> ResultT:
        return gen.send(None)

    async def asend(self, agen: AsyncGenerator[ResultT, None]) -> ResultT:
        return await agen.asend(None)


_WOKEN: Final = Woken()


class EdgeStream(TrioStream):
    """Linux: readiness comes from the shared epoll, once per change.

    ``_readable`` is what was last known; a ``recv`` that fills less than its buffer has emptied the socket, and the
    next byte will be a new edge (epoll(7)). ``_ended`` stays: after it every ``recv`` returns at once.
    """

    __slots__ = ("_closes", "_corked", "_ended", "_poller", "_readable", "_reader", "_registered", "_watchers")

    def __init__(self, sock: socket.socket, peer: Address | None, local: Address | None, poller: EdgePoller) -> None:
        super().__init__(sock, peer, local)
        self._poller = poller
        self._registered = False  # a short connection never needs the epoll
        self._corked = b""
        self._closes = False
        self._readable = True  # worth a try: clients send right after they connect
        self._ended = False
        self._reader: trio.lowlevel.Task | None = None
        self._watchers: trio.Event | None = None

    def notice(self, events: int) -> None:
        """The epoll has news: note it, and wake who waits for it."""
        if events & _ENDED:
            self._ended = True
            if self._watchers is not None:
                self._watchers.set()
        if events & (select.EPOLLIN | _ENDED):
            self._readable = True
            if self._reader is not None:
                trio.lowlevel.reschedule(self._reader, _WOKEN)
                self._reader = None
        if self._unsent and events & (select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR):
            self._flush()

    def send_nowait(self, data: bytes) -> None:
        corked = self._poller.corked
        if corked is not None and not self._corked and not self._unsent:
            self._corked = data
            corked.append(self)
        else:
            self.uncork()
            self._transmit(data)

    def send_pieces_nowait(self, pieces: Sequence[bytes]) -> None:
        self.uncork()  # first come, first sent
        super().send_pieces_nowait(pieces)

    def uncork(self) -> None:
        """Send what waited for the other tasks of the turn."""
        if self._corked:
            data, self._corked = self._corked, b""
            self._transmit(data)
            if self._closes and not super().close_nowait():
                self._poller.close_later(self)

    async def close_patiently(self) -> None:
        with trio.move_on_after(CLOSE_SECONDS):
            await super().aclose()

    def send_eof(self) -> None:
        self.uncork()
        super().send_eof()

    def close_nowait(self) -> bool:
        if not self._corked:
            return super().close_nowait()
        self._closes = True  # once the response has left with those of the others
        return True

    async def aclose(self) -> None:
        self.uncork()
        await super().aclose()

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
                self._reader = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)
                if self.lost:
                    raise ClientDisconnected("the connection was closed")
            data = self._receive(max_bytes)  # as receive_nowait does, which one call more would ask
            if data is not None:
                self._readable = len(data) == max_bytes or self._ended
                return data
            self._readable = self._ended

    def _stop_waiting(self, _: Any) -> trio.lowlevel.Abort:
        self._reader = None
        return trio.lowlevel.Abort.SUCCEEDED

    def is_disconnected(self) -> bool:
        return self.lost or peek_end(self._sock)

    async def wait_disconnected(self) -> None:
        if not self._ended and not self.lost:
            self._register()
            if self._watchers is None:
                self._watchers = trio.Event()
            await self._watchers.wait()

    def _register(self) -> None:
        if not self._registered:
            self._registered = True
            self._poller.register(self._sock.fileno(), self)

    def _flush_when_writable(self) -> None:
        self._register()  # the next edge calls _flush

    def _close(self) -> None:
        if self._registered:
            self._registered = False
            self._poller.forget(self._sock.fileno())
        self._corked = b""
        self._readable = True  # who asks now shall not wait, but be told
        super()._close()
        if self._reader is not None:
            trio.lowlevel.reschedule(self._reader, _WOKEN)
            self._reader = None
        if self._watchers is not None:
            self._watchers.set()
