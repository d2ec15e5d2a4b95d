"""A connection on asyncio and uvloop: a small Protocol that wakes one task.

The transport, once there is one, keeps what the kernel does not take, and sends it as the peer reads.
"""

import asyncio
import contextlib
import socket
from typing import Final, cast

import anyio

from trioserve._errors import ClientDisconnected
from trioserve._streams.cork import Cork, Corkable
from trioserve._streams.end_watch import EndWatch
from trioserve._streams.interface import RECEIVE_BYTES, Address
from trioserve._streams.sockets import NOTHING, kernel_queue, peek_end, reset_on_close

__all__ = ["LoopCork", "SocketStream"]

PAUSE_BYTES: Final = 64 * 1024  # received and not yet asked for: from here on the transport stops reading
UNSENT_BYTES: Final = 64 * 1024  # asyncio's default


class LoopCork(Cork):
    """In while tasks that were woken in one turn of the event loop are expected to run, and until the last has run.

    Attributes:
        expected: how many; who changes it sees to ``push_in`` and ``all_have_come``, because each request does both.
        ends: notices the ends of streams that are not read.
        openers: tasks that make transports, in a turn or two; in a nursery each would cost 10 us more.
    """

    __slots__ = ("_burst", "_loop", "ends", "expected", "openers")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._burst = False
        self.expected = 0
        self.ends = EndWatch(loop.add_reader, loop.remove_reader)
        self.openers: set[asyncio.Task[None]] = set()

    def all_have_come(self) -> None:
        """The last one begins to run."""
        if self._streams:
            self._loop.call_soon(self._end_turn)
        else:
            self.is_in = False  # nobody else has something to send

    def _end_turn(self) -> None:
        if self.expected:  # others have been woken meanwhile
            self.release()
        else:
            self.pull_out()

    def expect_burst(self) -> None:
        """Connections are being accepted in a row: their tasks will take their first steps together."""
        if not self._burst:
            self._burst = True
            self.expected += 1
            if not self.is_in:
                self.push_in()
            self._loop.call_soon(self._loop.call_soon, self._end_burst)  # after those steps, which are called soon too

    def _end_burst(self) -> None:
        self._burst = False
        self.expected -= 1
        if not self.expected:
            self.all_have_come()


class SocketStream(Corkable, asyncio.Protocol):
    """One connection.

    As long as nobody has to wait for the peer, the socket is read and written directly; many short connections never
    need more. The first wait makes a transport, whose protocol the stream is, and from then on the event loop moves
    the bytes.
    """

    __slots__ = (
        "_closed", "_credit", "_direct", "_drained", "_ended", "_is_closed", "_loop", "_opening", "_paused",
        "_readable", "_received", "_transport", "_unsent", "_watchers", "congested", "local", "peer",
    )  # fmt: skip

    _cork: LoopCork

    def __init__(
        self, sock: socket.socket, peer: Address | None, local: Address | None, cork: LoopCork,
        loop: asyncio.AbstractEventLoop,
    ) -> None:  # fmt: skip
        super().__init__(sock, cork)
        self.peer = peer
        self.local = local
        self._is_closed = False  # by us, with nothing left to send
        self._transport: asyncio.Transport | None = None
        self._direct = True  # no transport has been asked for
        self._opening = False  # it is being made
        self._loop = loop
        self._received = b""
        self._unsent = NOTHING  # while there is no transport
        self._credit = UNSENT_BYTES  # a transport may keep so many before the stream is congested
        self._ended = False  # the peer has finished sending
        self._paused = False
        self.congested = False  # the peer is slower than we are
        self._readable: asyncio.Future[None] | None = None  # each is made when somebody waits for it
        self._drained: asyncio.Future[None] | None = None
        self._watchers: asyncio.Event | None = None
        self._closed: asyncio.Event | None = None

    async def open(self) -> None:
        """Nothing: an accepted socket is ready."""

    def _make_transport(self) -> None:
        """Let the event loop move the bytes from now on, although whoever waits for them may be cancelled."""
        if self._unsent:
            self._loop.remove_writer(self._sock)
        self._direct = False
        self._opening = True
        opener = self._loop.create_task(self._open_transport())
        self._cork.openers.add(opener)
        opener.add_done_callback(self._cork.openers.discard)

    async def _open_transport(self) -> None:
        try:
            with contextlib.suppress(OSError):  # the client has gone
                await self._loop.connect_accepted_socket(lambda: self, self._sock)
        finally:
            self._opening = False
            if self._transport is None:
                self.connection_lost(None)
            elif self.lost:  # aborted meanwhile
                self._transport.abort()

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self._transport.set_write_buffer_limits(high=self._credit, low=0)
        if self._unsent:
            data, self._unsent = self._unsent, NOTHING
            self.resume_writing()
            self._transport.write(data)
            if self._finishes:
                self.send_eof()

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        if len(self._received) > PAUSE_BYTES and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
            if self._watchers is not None:
                self._cork.ends.add(self._sock, self._watchers.set)
        self._wake_reader()

    def eof_received(self) -> bool:
        self._ended = True
        self._wake_reader()
        if self._watchers is not None:
            self._watchers.set()
        return True  # keep the sending half open: the answer is still wanted

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._transport = None
        self._unsent = NOTHING
        self._wake_reader()
        self.resume_writing()
        if self._watchers is not None:
            self._watchers.set()
            self._cork.ends.forget(self._sock)
        if self._closed is not None:
            self._closed.set()

    def pause_writing(self) -> None:
        self.congested = True

    def resume_writing(self) -> None:
        self.congested = False
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def _wake_reader(self) -> None:
        readable, self._readable = self._readable, None
        if readable is not None and not readable.done():
            readable.set_result(None)
            cork = self._cork
            cork.expected += 1
            if not cork.is_in:
                cork.push_in()

    # Receiving.

    def receive_nowait(self, max_bytes: int = RECEIVE_BYTES) -> bytes | None:
        if self._received or self._ended or self.lost:
            return self._take()
        return self._receive(max_bytes)  # the event loop may not have seen yet what has just arrived

    def _take(self) -> bytes:
        """What is there, or the end."""
        if self.lost and not self._received and not self._ended:
            raise ClientDisconnected("the client has gone")
        data, self._received = self._received, b""
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    def _receive(self, max_bytes: int) -> bytes | None:
        """``recv(2)``."""
        try:
            data = self._sock.recv(max_bytes)
        except BlockingIOError:
            return None
        except OSError as exc:
            self._break()
            raise ClientDisconnected("the client has gone") from exc
        self._ended = not data
        return data

    async def receive_some(self, max_bytes: int = RECEIVE_BYTES) -> bytes:
        while not self._received and not self._ended and not self.lost:
            if self._direct:
                if (data := self._receive(max_bytes)) is not None:
                    return data
                self._make_transport()
            if self._readable is not None:
                raise anyio.BusyResourceError("receiving from")
            readable = self._readable = self._loop.create_future()
            try:
                await readable
            finally:
                self._stop_waiting(readable)
        return self._take()

    def _stop_waiting(self, readable: "asyncio.Future[None]") -> None:
        if self._readable is readable:
            self._readable = None  # cancelled
        elif not readable.cancelled():
            cork = self._cork
            cork.expected -= 1
            if not cork.expected:
                cork.all_have_come()

    def is_disconnected(self) -> bool:
        if self._direct and not self._ended and not self.lost:
            return peek_end(self._sock)
        return self.lost or (self._ended and not self._received)

    async def wait_disconnected(self) -> None:
        if not self._ended and not self.lost:
            if self._direct:
                self._make_transport()
            if self._watchers is None:
                self._watchers = asyncio.Event()
            if self._paused:
                self._cork.ends.add(self._sock, self._watchers.set)
            await self._watchers.wait()

    # Sending.

    def _transmit(self, data: bytes) -> None:
        """``send(2)`` first, transport or not: it costs less than to hand over bytes that the kernel takes at once."""
        if self.lost:
            return
        if self._transport is not None and self._transport.get_write_buffer_size():
            self._transport.write(data)
        elif self._unsent:
            self._unsent = memoryview(bytes(self._unsent) + data)
        elif (sent := self._send_some(data)) < len(data):
            self._keep(memoryview(data)[sent:])

    def _keep(self, unsent: memoryview) -> None:
        """The kernel has not taken all: the rest follows as the peer reads."""
        if self._transport is not None:
            self._transport.write(unsent)
        else:
            self._unsent = unsent
            self.congested = True
            if self._direct:
                self._loop.add_writer(self._sock, self._send_unsent)

    def _send_unsent(self) -> None:
        """The kernel takes more, and there is no transport yet."""
        self._unsent = self._unsent[self._send_some(self._unsent) :]
        if not self._unsent:
            self._loop.remove_writer(self._sock)
            self.resume_writing()
            if self._finishes:
                self.send_eof()

    def _send_some(self, data: bytes | memoryview) -> int:
        """``send(2)``; what is sent to a broken connection counts as sent."""
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self._break()
            return len(data)

    def _break(self) -> None:
        """The socket is good for nothing any more, and no transport has said so."""
        if self._transport is not None:
            self._transport.abort()
        elif self._unsent and self._direct:
            self._loop.remove_writer(self._sock)
        self.connection_lost(None)

    def be_strict(self) -> None:
        self.uncork()
        self._credit = 0
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high=0)

    async def drain(self) -> None:
        while self.congested and not self.lost:
            if self._drained is None:
                self._drained = self._loop.create_future()
            await asyncio.shield(self._drained)  # several tasks may wait: one that is cancelled leaves it alone
        if self.lost:
            raise ClientDisconnected("the client has gone")

    @property
    def unsent(self) -> int:
        buffered = self._transport.get_write_buffer_size() if self._transport is not None else len(self._unsent)
        return buffered + self._corked_bytes

    def untaken(self) -> int:
        return self.unsent + (kernel_queue(self._sock) if not self.lost else 0)

    # The end.

    def send_eof(self) -> None:
        self.uncork()
        try:
            if self._transport is not None:
                if not self._transport.is_closing():
                    self._transport.write_eof()
            elif self._unsent:
                self._finishes = True
            elif not self.lost:
                self._sock.shutdown(socket.SHUT_WR)
        except OSError:  # the peer was faster
            self._break()

    def close_nowait(self) -> bool:
        if self._corked:
            self._closes = True
            return True
        if self.unsent:
            return False
        if self._transport is not None:
            self._transport.close()
        elif not self._opening:  # as in abort
            self._sock.close()
        self.lost = self._is_closed = True
        return True

    async def aclose(self) -> None:
        self.uncork()
        try:
            if self._transport is None and self.congested:
                await self.drain()
            if self.close_nowait():
                return
            assert self._transport is not None, "only a transport has unsent bytes now"
            self._transport.close()  # it sends them first
            if self._closed is None:
                self._closed = asyncio.Event()
            await self._closed.wait()
        except ClientDisconnected:
            self.abort()  # it is what closing is for
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        self._drop_corked()
        if not self._is_closed and self._sock.fileno() >= 0:
            reset_on_close(self._sock)
            if self._transport is not None:
                self._transport.abort()
            else:
                self._break()
                if not self._opening:  # else who makes a transport will find that the stream is lost
                    self._sock.close()
        self.lost = self._is_closed = True
