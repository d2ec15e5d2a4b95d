"""Sockets on trio. Non-blocking calls come first; a task waits only when the kernel says so.

``PlainStream`` waits with trio's own ``wait_readable`` and runs everywhere. ``EdgeStream`` shares one edge-triggered
epoll among all connections of a server (Linux): trio's own readiness costs one ``epoll_ctl`` per wait, which is
about 2 of 10 us of a small request.
"""

import select
import socket
from collections.abc import Callable
from typing import Any, ClassVar, Final

import trio

from trioserve._errors import ClientDisconnected
from trioserve._streams.interface import RECEIVE_BYTES, Address, ByteStream
from trioserve._streams.sockets import address_of, is_wildcard, kernel_queue, peek_end, peer_address, reset_on_close

__all__ = ["TrioNetwork"]

READ_AHEAD_BYTES: Final = 64 * 1024  # kept for receive_some while somebody watches for the peer to leave
WOKEN_AT_ONCE: Final = 256  # tasks; what they have touched shall still be in the cache when their responses leave
CLOSE_SECONDS: Final = 2.0  # for a peer to take the last bytes of a stream that nobody serves any more
_NOTHING: Final = memoryview(b"")


class TrioNetwork:
    """Trio's clock and sockets."""

    def __init__(self, *, edge_triggered: bool = hasattr(select, "epoll")) -> None:
        self.clock: Callable[[], float] = trio.lowlevel.current_clock().current_time
        self._poller = EdgePoller() if edge_triggered else None
        self._flushers: trio.Nursery | None = None

    def listen(self, sock: socket.socket) -> "TrioListener":
        return TrioListener(sock, self._make_stream, self._cork_burst)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as self._flushers:
            task_status.started()
            if self._poller is not None:
                self._poller.closers = self._flushers
                await self._poller.run()
            else:
                await trio.sleep_forever()

    def _cork_burst(self) -> None:
        """Connections have been accepted in a row: their tasks will run together, so their responses leave together."""
        if self._poller is not None and self._poller.corked is None and self._flushers is not None:
            self._poller.corked = []
            self._flushers.start_soon(self._poller.let_them_run)

    def _make_stream(self, sock: socket.socket, peer: Address | None, local: Address | None) -> ByteStream:
        if self._poller is not None:
            return EdgeStream(sock, peer, local, self._poller)
        assert self._flushers is not None, "run() comes first"
        return PlainStream(sock, peer, local, self._flushers)


class TrioListener:
    """Accepts on a listening socket."""

    def __init__(
        self,
        sock: socket.socket,
        make_stream: Callable[[socket.socket, Address | None, Address | None], ByteStream],
        on_burst: Callable[[], None],
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._make_stream = make_stream
        self._on_burst = on_burst
        self._in_a_row = 0
        self.address = address_of(sock.getsockname())
        self._wildcard = is_wildcard(self.address)

    async def accept(self) -> ByteStream:
        while (stream := self.accept_nowait()) is None:
            self._in_a_row = 0
            await trio.lowlevel.wait_readable(self._sock)
        return stream

    def accept_nowait(self) -> ByteStream | None:
        try:
            sock, peer = self._sock.accept()
        except BlockingIOError:
            return None
        self._in_a_row += 1
        if self._in_a_row == 2:
            self._on_burst()
        sock.setblocking(False)
        local = address_of(sock.getsockname()) if self._wildcard else self.address
        return self._make_stream(sock, peer_address(peer), local)

    def close(self) -> None:
        self._sock.close()


class _TrioStream:
    """What both kinds of stream share: sending, closing, and turning socket errors into ours."""

    __slots__ = ("_drained", "_sock", "_unsent", "congested", "local", "lost", "peer")

    def __init__(self, sock: socket.socket, peer: Address | None, local: Address | None) -> None:
        self._sock = sock
        self.peer = peer
        self.local = local
        self.lost = False
        self.congested = False
        self._unsent = _NOTHING
        self._drained: trio.Event | None = None  # made when somebody waits for it

    async def open(self) -> None:
        """Nothing: an accepted socket is ready."""

    @property
    def unsent(self) -> int:
        return len(self._unsent)

    def untaken(self) -> int:
        return len(self._unsent) + kernel_queue(self._sock)

    def send_nowait(self, data: bytes) -> None:
        if self.lost:
            return
        if self._unsent:
            self._unsent = memoryview(bytes(self._unsent) + data)
            return
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._lose()
            return
        if sent < len(data):
            self._unsent = memoryview(data)[sent:]
            self.congested = not self._flush()
            if self.congested:  # the kernel has said no, so it will also say when it can take more
                self._flush_when_writable()

    def _flush_when_writable(self) -> None:
        raise NotImplementedError

    def _flush(self) -> bool:
        """Send more of what is unsent; true when nothing is left to do."""
        try:
            while self._unsent:
                sent = self._sock.send(self._unsent)
                self._unsent = self._unsent[sent:]
        except BlockingIOError:
            return False
        except OSError:
            self._lose()
        self.congested = False
        if self._drained is not None:
            self._drained.set()
        return True

    def be_strict(self) -> None:
        """Nothing to change: on trio what the kernel has not taken is congestion."""

    async def drain(self) -> None:
        while self.congested and not self.lost:
            if self._drained is None or self._drained.is_set():
                self._drained = trio.Event()
            await self._drained.wait()
        if self.lost:
            raise ClientDisconnected("the client has gone")

    def _receive(self, max_bytes: int) -> bytes:
        """``recv(2)``: raises BlockingIOError, or ClientDisconnected."""
        if self.lost:  # the kernel tells of a reset only once
            raise ClientDisconnected("the client has gone")
        try:
            return self._sock.recv(max_bytes)
        except BlockingIOError:
            raise
        except OSError as exc:
            self._lose()
            raise ClientDisconnected("the client has gone") from exc

    def _lose(self) -> None:
        """The connection broke: nobody shall wait for it any more."""
        self.lost = True
        self._unsent = _NOTHING
        self.congested = False
        if self._drained is not None:
            self._drained.set()

    def send_eof(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._lose()

    def close_nowait(self) -> bool:
        if self._unsent:
            return False
        self._close()
        return True

    async def aclose(self) -> None:
        try:
            if self.congested:
                await self.drain()
        except ClientDisconnected:
            pass  # that is what closing is for
        except BaseException:
            self.abort()
            raise
        self._close()

    def abort(self) -> None:
        if self._sock.fileno() >= 0:
            reset_on_close(self._sock)
            self._close()

    def _close(self) -> None:
        self._lose()
        self._sock.close()


class PlainStream(_TrioStream):
    """Portable: trio's own readiness."""

    __slots__ = ("_ahead", "_finished", "_flushers", "_reading", "_room_ahead")

    def __init__(
        self, sock: socket.socket, peer: Address | None, local: Address | None, flushers: trio.Nursery
    ) -> None:
        super().__init__(sock, peer, local)
        self._flushers = flushers  # owned by the network: a flush may outlive the call that began it
        self._reading = trio.Lock()  # receive_some and wait_disconnected take turns at the socket
        self._ahead = b""
        self._room_ahead = trio.Event()  # set when somebody has taken what was read ahead
        self._finished = False

    def receive_nowait(self, max_bytes: int = RECEIVE_BYTES) -> bytes | None:
        if self._ahead or self._finished:
            return self._take_ahead()
        try:
            return self._receive(max_bytes)
        except BlockingIOError:
            return None

    async def receive_some(self, max_bytes: int = RECEIVE_BYTES) -> bytes:
        async with self._reading:
            if not self._ahead and not self._finished:
                return await self._wait_and_receive(max_bytes)
            return self._take_ahead()

    def _take_ahead(self) -> bytes:
        data, self._ahead = self._ahead, b""
        self._room_ahead.set()
        return data

    async def _wait_and_receive(self, max_bytes: int) -> bytes:
        while True:
            if self.lost:
                raise ClientDisconnected("the connection was closed")
            try:
                await trio.lowlevel.wait_readable(self._sock)
            except (trio.ClosedResourceError, OSError) as exc:
                raise ClientDisconnected("the connection was closed") from exc
            try:
                return self._receive(max_bytes)
            except BlockingIOError:
                continue

    def is_disconnected(self) -> bool:
        if self.lost or self._ahead:
            return self.lost
        return self._finished or peek_end(self._sock)

    async def wait_disconnected(self) -> None:
        while not self.lost and not self._finished:
            if len(self._ahead) >= READ_AHEAD_BYTES:  # the peer is flooding, not leaving
                self._room_ahead = trio.Event()
                await self._room_ahead.wait()
            async with self._reading:
                try:
                    data = await self._wait_and_receive(READ_AHEAD_BYTES)
                except ClientDisconnected:
                    return
                self._ahead += data
                self._finished = not data

    def _flush_when_writable(self) -> None:
        self._flushers.start_soon(self._flush_until_done)

    async def _flush_until_done(self) -> None:
        while not self._flush():
            try:
                await trio.lowlevel.wait_writable(self._sock)
            except (trio.ClosedResourceError, OSError):
                self._lose()

    def _close(self) -> None:
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self._sock)
        super()._close()


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


class EdgeStream(_TrioStream):
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
                trio.lowlevel.reschedule(self._reader)
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
            super().send_nowait(data)

    def uncork(self) -> None:
        """Send what waited for the other tasks of the turn."""
        if self._corked:
            data, self._corked = self._corked, b""
            super().send_nowait(data)
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
        try:
            data = self._receive(max_bytes)
        except BlockingIOError:
            self._readable = self._ended
            return None
        self._readable = len(data) == max_bytes or self._ended
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
            if (data := self.receive_nowait(max_bytes)) is not None:
                return data

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
            trio.lowlevel.reschedule(self._reader)
            self._reader = None
        if self._watchers is not None:
            self._watchers.set()
