"""A connection on asyncio and uvloop: a small Protocol that wakes one task.

The transport, once there is one, keeps what the kernel does not take, and sends it as the peer reads.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from typing import Final, cast

import anyio

from trioserve._errors import ClientDisconnected
from trioserve._streams.file_sending import FileSender
from trioserve._streams.interface import RECEIVE_BYTES, Address, WaitingTasks
from trioserve._streams.on_asyncio.cork import LoopCork
from trioserve._streams.on_asyncio.eager import CAN_BEGIN_AT_ONCE
from trioserve._streams.sockets import NOTHING, hang_up, kernel_queue, peek_end, peek_input, reset_on_close

__all__ = ["SocketStream"]

PAUSE_BYTES: Final = 64 * 1024  # received and not yet asked for: from here on the transport stops reading


class SocketStream(FileSender, asyncio.Protocol):
    """One connection.

    As long as nobody has to wait for the peer, the socket is read and written directly; many short connections never
    need more. The first wait makes a transport, whose protocol the stream is, and from then on the event loop moves
    the bytes.
    """

    __slots__ = (
        "_announced", "_direct", "_drained", "_ended", "_is_closed", "_loop", "_on_input", "_opening", "_paused",
        "_readable", "_received", "_told_of_end", "_transport", "_unsent", "_watchers", "local", "peer",
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
        self._ended = False  # the peer has finished sending
        self._paused = False
        self._readable: asyncio.Future[bool] | None = None  # each is made when somebody waits for it
        self._on_input: Callable[[], None] | None = None  # called instead of resolving ``_readable``
        self._announced = False  # it was called, and nobody has received since
        self._drained: asyncio.Future[None] | None = None
        self._watchers: asyncio.Event | None = None
        self._told_of_end: WaitingTasks | None = None

    needs_opening = False

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
        self._transport.set_write_buffer_limits(high=0)  # it calls pause_writing for a single byte that it keeps
        if self._unsent:
            data, self._unsent = self._unsent, NOTHING
            self._transport.write(data)
            is_drained = not self._transport.get_write_buffer_size()
            if self._finishes:
                self.send_eof()
            if is_drained:
                self._note_drained()

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        if len(self._received) > PAUSE_BYTES and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
            if self._watchers is not None or self._told_of_end is not None:
                self._cork.ends.add(self._sock, self._tell_end)
        self._wake_reader()

    def eof_received(self) -> bool:
        self._ended = True
        self._wake_reader()
        self._tell_end()
        return True  # keep the sending half open: the answer is still wanted

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._transport = None
        self._unsent = NOTHING
        self._wake_reader()
        if self._watchers is not None or self._told_of_end is not None:
            self._tell_end()
            self._cork.ends.forget(self._sock)
        self._note_drained()

    def pause_writing(self) -> None:
        self._note_congested()

    def resume_writing(self) -> None:
        self._loop.call_soon(self._see_drained)  # an observer may close the stream, which asyncio would trip over here

    def _see_drained(self) -> None:
        if self._transport is None or not self._transport.get_write_buffer_size():
            self._note_drained()

    def _wake_drained(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def _wake_reader(self, *, interrupted: bool = False) -> None:
        readable, self._readable = self._readable, None
        if readable is not None and not readable.done():
            readable.set_result(interrupted)
            self._cork.expect_one()
        if self._on_input is not None:  # beside somebody who still waits, although he has been cancelled
            callback, self._on_input = self._on_input, None
            if CAN_BEGIN_AT_ONCE:
                self._cork.expect_others()
            else:
                self._announced = True
                self._cork.expect_one()
            callback()

    # Receiving.

    def call_when_input(self, callback: Callable[[], None]) -> bool:
        if self._direct:
            self._try_directly()
        if self._received or self._ended or self.lost:
            return False
        self._on_input = callback
        return True

    def _try_directly(self) -> None:
        """Without a transport nobody would call back; so let there be one, unless there is something already."""
        if not self._received and not self._ended and not self.lost:
            with contextlib.suppress(ClientDisconnected):
                if (data := self._receive(RECEIVE_BYTES)) is None:
                    self._make_transport()
                else:
                    self._received = data

    def _come(self) -> None:
        """Whoever was called back receives, or never will."""
        self._announced = False
        cork = self._cork  # as one_has_come does, which one call more would ask
        cork.expected -= 1
        if not cork.expected:
            cork.all_have_come()

    def receive_nowait(self, max_bytes: int = RECEIVE_BYTES) -> bytes | None:
        if self._announced:
            self._come()
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
        if self._announced:
            self._come()
        while not self._received and not self._ended and not self.lost:
            if self._direct:
                if (data := self._receive(max_bytes)) is not None:
                    return data
                self._make_transport()
            if self._readable is not None:
                raise anyio.BusyResourceError("receiving from")
            readable = self._readable = self._loop.create_future()
            try:
                interrupted = await readable
            finally:
                self._stop_waiting(readable)
            if interrupted:
                return self.receive_nowait(max_bytes) or b""
        return self._take()

    def interrupt(self) -> None:
        self._wake_reader(interrupted=True)

    def has_input(self) -> bool:
        return not self.lost and (bool(self._received) or peek_input(self._sock))

    def _stop_waiting(self, readable: "asyncio.Future[bool]") -> None:
        if self._readable is readable:
            self._readable = None  # cancelled
        elif not readable.cancelled():
            self._cork.one_has_come()

    def is_disconnected(self) -> bool:
        if self._direct and not self._ended and not self.lost:
            return peek_end(self._sock)
        return self.lost or (self._ended and not self._received)

    async def wait_disconnected(self) -> None:
        if not self._ended and not self.lost:
            self._watchers = self._watchers or asyncio.Event()
            self._watch_end()
            await self._watchers.wait()

    def wakes_at_end(self, tasks: WaitingTasks) -> bool:
        if self._ended or self.lost:
            return False
        self._told_of_end = tasks
        self._watch_end()
        return True

    def _watch_end(self) -> None:
        if self._direct:
            self._make_transport()
        if self._paused:
            self._cork.ends.add(self._sock, self._tell_end)

    def _tell_end(self) -> None:
        if self._watchers is not None:
            self._watchers.set()
        if self._told_of_end is not None:
            self._told_of_end.wake()

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
            if self._direct:
                self._loop.add_writer(self._sock, self._send_unsent)
            self._note_congested()

    def _send_unsent(self) -> None:
        """The kernel takes more, and there is no transport yet."""
        sent = self._send_some(self._unsent)
        self._unsent = self._unsent[sent:]
        if not self._unsent and not self.lost:
            self._loop.remove_writer(self._sock)
            if self._finishes:
                self.send_eof()
            self._note_drained()

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

    async def drain(self) -> None:
        while self.congested and not self.lost:
            if self._drained is None:
                self._drained = self._loop.create_future()
            await asyncio.shield(self._drained)  # several tasks may wait: one that is cancelled leaves it alone
        if self.lost:
            raise ClientDisconnected("the client has gone")

    async def _wait_writable(self) -> None:
        descriptor = os.dup(self._sock.fileno())  # the event loop lets nobody wait for the one that has a transport
        self._loop.add_writer(descriptor, self._note_drained)
        self._note_congested()
        try:
            await self.drain()
        finally:
            self._loop.remove_writer(descriptor)
            os.close(descriptor)
            self._note_drained()

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
        if self._announced:
            self._come()
        if self._corked:
            self._closes = True
            return True
        if self.unsent:
            return False
        if not self.lost:
            hang_up(self._sock)
        if self._transport is not None:
            self._transport.close()
        elif not self._opening:  # as in abort
            self._sock.close()
        self.lost = self._is_closed = True
        return True

    async def aclose(self) -> None:
        self.uncork()
        try:
            while self.congested or not self.close_nowait():
                await self.drain()
        except ClientDisconnected:
            self.abort()  # it is what closing is for
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        if self._announced:
            self._come()
        self._drop_corked()
        was_closed, self._is_closed = self._is_closed, True
        if not was_closed and self._sock.fileno() >= 0:
            reset_on_close(self._sock)
            if self._transport is not None:
                self._transport.abort()
            else:
                self._break()
                if not self._opening:  # else who makes a transport will find that the stream is lost
                    self._sock.close()
        self.lost = True
        self._note_drained()
