"""Connections in memory: a network without sockets, for tests. Knows no clock and no backend.

It is as unkind as a real one may be. Each direction holds a bounded number of bytes, and what is beyond waits until
the reader has made room. Bytes that reach a closed end make it send a reset, and a reset erases what the other end
has not read yet (RFC 9112 §9.6); only what was sent before an ``abort`` can still be read, as on Linux.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import anyio

from trioserve._errors import ClientDisconnected
from trioserve._streams.interface import RECEIVE_BYTES, Address, ByteStream, Corked, SendObserver, WaitingTasks
from trioserve._streams.memory_pipe import MemoryPipe

__all__ = ["MemoryClient", "MemoryListener", "MemoryStream", "memory_stream_pair"]

IN_FLIGHT_BYTES: Final = 64 * 1024  # in each direction; real ones hold more, which only makes tests larger
CLIENT_ADDRESS: Final = ("192.0.2.1", 50000)  # TEST-NET-1 (RFC 5737): nobody's
SERVER_ADDRESS: Final = ("192.0.2.80", 80)


class MemoryStream:
    """One end of a connection, a ``ByteStream``. ``abort`` is a reset; so is closing while bytes are unread."""

    __slots__ = (
        "_closed", "_incoming", "_interrupted", "_on_input", "_other", "_outgoing", "_receiving", "_told_of_end",
        "congested", "local", "lost", "observer", "peer",
    )  # fmt: skip

    _incoming: MemoryPipe  # these three belong to both ends: see memory_stream_pair
    _outgoing: MemoryPipe
    _other: "MemoryStream"

    def __init__(self, peer: Address | None, local: Address | None) -> None:
        self.peer = peer
        self.local = local
        self.lost = False
        self.congested = False
        self.observer: SendObserver | None = None
        self._closed = False
        self._receiving = False
        self._interrupted = False  # the wait that is going on
        self._on_input: Callable[[], None] | None = None
        self._told_of_end: WaitingTasks | None = None

    needs_opening = False

    async def open(self) -> None:
        """Nothing: the connection is there."""

    def receive_nowait(self, max_bytes: int = RECEIVE_BYTES) -> bytes | None:
        if data := self._incoming.take(max_bytes):
            return data
        if self.lost:
            raise ClientDisconnected("the connection is broken")
        return b"" if self._incoming.end_has_arrived else None

    async def receive_some(self, max_bytes: int = RECEIVE_BYTES) -> bytes:
        while (data := self.receive_nowait(max_bytes)) is None:
            if self._receiving:
                raise anyio.BusyResourceError("receiving from")
            self._receiving = True
            self._interrupted = False
            try:
                await self._incoming.wait_for_change()
            finally:
                self._receiving = False
            if self._interrupted:
                return self.receive_nowait(max_bytes) or b""
        return data

    def call_when_input(self, callback: Callable[[], None]) -> bool:
        if self._has_news:
            return False
        self._on_input = callback
        return True

    @property
    def _has_news(self) -> bool:
        return self._has_end or self._incoming.has_arrived

    def look(self) -> None:
        """Something has changed in what arrives."""
        if self._on_input is not None and self._has_news:
            self._call_back()
        if self._told_of_end is not None and self._has_end:
            self._told_of_end.wake()

    def _call_back(self) -> None:
        callback, self._on_input = self._on_input, None
        if callback is not None:
            callback()

    def interrupt(self) -> None:
        if self._receiving:
            self._interrupted = True
            self._incoming.notify()
        self._call_back()

    def has_input(self) -> bool:
        return self._incoming.has_arrived and not self.lost

    def send_nowait(self, data: bytes) -> None:
        if self.lost or not data:
            return
        if self._other._closed:  # nobody is there: a reset comes back
            self._lose(erase=True)
        else:
            self._outgoing.put(data)

    def send_pieces_nowait(self, pieces: Sequence[bytes], size: int) -> None:
        data = b"".join(pieces)
        assert len(data) == size, "sockets believe it, and would lose bytes"
        self.send_nowait(data)

    def defers(self, sender: Corked, *, expects_others: bool) -> bool:
        return False

    def uncork(self) -> None:
        """Nothing: there is no cork."""

    file_outlet = None

    def _set_congested(self, congested: bool) -> None:
        if congested != self.congested:
            self.congested = congested
            if self.observer is not None:
                (self.observer.on_congested if congested else self.observer.on_drained)()

    async def drain(self) -> None:
        while self.congested and not self.lost:
            await self._outgoing.wait_for_change()
        if self.lost:
            raise ClientDisconnected("the connection is broken")

    @property
    def unsent(self) -> int:
        return self._outgoing.waiting_bytes

    def untaken(self) -> int:
        return self.unsent + self._outgoing.held_bytes

    def wire_bytes(self) -> None:
        """There is no wire."""

    def is_disconnected(self) -> bool:
        return self.lost or (self._incoming.end_has_arrived and self._incoming.is_empty)

    async def wait_disconnected(self) -> None:
        while not self._has_end:
            await self._incoming.wait_for_change()

    def wakes_at_end(self, tasks: WaitingTasks) -> bool:
        self._told_of_end = tasks
        return not self._has_end

    @property
    def _has_end(self) -> bool:
        return self.lost or self._incoming.end_has_arrived

    def send_eof(self) -> None:
        if not self.lost:
            self._outgoing.finished = True
            self._outgoing.notify()

    def close_nowait(self) -> bool:
        if self.unsent:
            return False
        self._close()
        return True

    async def aclose(self) -> None:
        try:
            while self.unsent:
                await self._outgoing.wait_for_change()
        except BaseException:
            self.abort()
            raise
        self._close()

    def abort(self) -> None:
        if not self._closed:
            self._other._lose(erase=False)
            self._leave()

    def _close(self) -> None:
        if not self._closed:
            if not self._incoming.is_empty:
                self._other._lose(erase=True)
            self.send_eof()
            self._leave()

    def _leave(self) -> None:
        self._closed = True
        self._lose(erase=True)

    def _lose(self, *, erase: bool) -> None:
        """The connection broke; with ``erase``, what arrived and was not read goes with it."""
        self.lost = True
        self._outgoing.drop_waiting()
        if erase:
            self._incoming.drop_all()
        else:
            self._incoming.drop_waiting()


class MemoryClient(MemoryStream):
    """The client's end, with what a test or a small client likes to ask of a stream."""

    __slots__ = ()

    async def send_all(self, data: bytes) -> None:
        """Send ``data``, waiting while the server is slow. Raises ClientDisconnected when the connection broke.

        If cancelled, what the network has not taken yet is not sent.
        """
        self.send_nowait(data)
        try:
            while self.unsent:
                await self._outgoing.wait_for_change()
        except BaseException:
            self._outgoing.drop_waiting()
            raise
        if self.lost:
            raise ClientDisconnected("the connection is broken")

    def close_window(self) -> None:
        """Let nothing more arrive. To the server this is a client that reads no more (RFC 9293 §3.8.6)."""
        self._incoming.close_window()

    async def receive_until(self, ending: bytes) -> bytes:
        """All bytes up to and including ``ending``; those after it stay.

        Raises:
            EOFError: the server finished first; what it sent is in the message.
            ClientDisconnected: the connection broke first.
        """
        received = b""
        while (found := received.find(ending)) < 0:
            if not (data := await self.receive_some()):
                raise EOFError(f"the server finished before {ending!r}: {received!r}")
            received += data
        end = found + len(ending)
        self._incoming.put_back(received[end:])
        return received[:end]

    async def receive_exactly(self, count: int) -> bytes:
        """``count`` bytes; raises as ``receive_until``."""
        received = b""
        while len(received) < count:
            if not (data := await self.receive_some(count - len(received))):
                raise EOFError(f"the server finished {count - len(received)} bytes early: {received!r:.1000}")
            received += data
        return received

    async def receive_rest(self) -> bytes:
        """Everything until the connection ends, one way or the other: see ``lost``."""
        pieces: list[bytes] = []
        try:
            while data := await self.receive_some():
                pieces.append(data)
        except ClientDisconnected:
            pass
        return b"".join(pieces)


def memory_stream_pair(
    capacity: int = IN_FLIGHT_BYTES,
    *,
    client: Address | None = CLIENT_ADDRESS,
    server: Address | None = SERVER_ADDRESS,
) -> tuple[MemoryClient, MemoryStream]:
    """Both ends of a new connection, the client's first.

    ``capacity`` bytes are in flight at most, each way; a stream is congested while any wait beyond that.
    """
    near, far = MemoryClient(peer=server, local=client), MemoryStream(peer=client, local=server)
    near._other, far._other = far, near
    near._outgoing = far._incoming = MemoryPipe(capacity, near._set_congested, far.look)
    far._outgoing = near._incoming = MemoryPipe(capacity, far._set_congested, near.look)
    return near, far


class MemoryListener:
    """A ``Listener``: what ``connect`` makes, ``accept`` takes. The backlog has no bound, ``waiting`` is its length."""

    def __init__(self, address: Address = SERVER_ADDRESS, *, capacity: int = IN_FLIGHT_BYTES) -> None:
        self.address = address
        self._capacity = capacity
        self._backlog: deque[MemoryStream] = deque()
        self._connected = anyio.Event()
        self._closed = False

    @property
    def waiting(self) -> int:
        """Connections that have not been accepted."""
        return len(self._backlog)

    def connect(self, client: Address | None = CLIENT_ADDRESS) -> MemoryClient:
        """A new connection from ``client``. Raises ConnectionRefusedError once the listener is closed."""
        if self._closed:
            raise ConnectionRefusedError(f"nobody listens on {self.address}")
        near, far = memory_stream_pair(self._capacity, client=client, server=self.address)
        self._backlog.append(far)
        self._connected.set()
        return near

    async def accept(self) -> ByteStream:
        while not self._backlog:
            self._connected = anyio.Event()
            await self._connected.wait()
        return self._backlog.popleft()

    def accept_nowait(self) -> ByteStream | None:
        return self._backlog.popleft() if self._backlog else None

    def close(self) -> None:
        """Stop listening; whoever was not accepted gets a reset, as from a kernel."""
        self._closed = True
        while self._backlog:
            self._backlog.popleft().abort()
