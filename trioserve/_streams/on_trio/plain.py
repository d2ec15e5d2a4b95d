"""Streams on trio. Non-blocking calls come first; a task waits only when the kernel says so.

``TrioStream`` is what both kinds share, ``PlainStream`` waits with trio's own ``wait_readable``.
"""

import socket
from collections.abc import Callable
from typing import Final

import trio

from trioserve._errors import ClientDisconnected
from trioserve._streams.cork import Cork
from trioserve._streams.file_sending import FileSender
from trioserve._streams.interface import RECEIVE_BYTES, Address, WaitingTasks
from trioserve._streams.sockets import (
    NOTHING,
    hang_up,
    kernel_queue,
    peek_end,
    peek_input,
    reset_on_close,
)

__all__ = ["PlainStream", "TrioStream"]

READ_AHEAD_BYTES: Final = 64 * 1024  # kept for receive_some while somebody watches for the peer to leave


class TrioStream(FileSender):
    """What both kinds of stream share: sending, closing, and turning socket errors into ours."""

    __slots__ = ("_drained", "_unsent", "local", "peer")

    def __init__(self, sock: socket.socket, peer: Address | None, local: Address | None, cork: Cork) -> None:
        super().__init__(sock, cork)
        self.peer = peer
        self.local = local
        self._unsent = NOTHING
        self._drained: trio.Event | None = None  # made when somebody waits for it

    needs_opening = False

    async def open(self) -> None:
        """Nothing: an accepted socket is ready."""

    def call_when_input(self, callback: Callable[[], None]) -> bool:
        """Tasks of trio's wait themselves."""
        return False

    @property
    def unsent(self) -> int:
        return len(self._unsent) + self._corked_bytes

    def untaken(self) -> int:
        return self.unsent + kernel_queue(self._sock)

    def _transmit(self, data: bytes) -> None:
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
            self._break()
            return
        if sent < len(data):
            self._keep(memoryview(data)[sent:])

    def _keep(self, unsent: memoryview) -> None:
        """The kernel has not taken all: the rest follows as the peer reads."""
        self._unsent = unsent
        if not self._flush():  # the kernel has said no, so it will also say when it can take more
            self._flush_when_writable()
            self._note_congested()

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
            self._break()
        if self._finishes:
            self._send_end()
        self._note_drained()
        return True

    def _wake_drained(self) -> None:
        if self._drained is not None:
            self._drained.set()

    async def drain(self) -> None:
        while self.congested and not self.lost:
            if self._drained is None or self._drained.is_set():
                self._drained = trio.Event()
            await self._drained.wait()
        if self.lost:
            raise ClientDisconnected("the client has gone")

    def _receive(self, max_bytes: int) -> bytes | None:
        """``recv(2)``; ``None`` when there is nothing yet. Raises ClientDisconnected."""
        if self.lost:  # the kernel tells of a reset only once
            raise ClientDisconnected("the client has gone")
        try:
            return self._sock.recv(max_bytes)
        except BlockingIOError:
            return None
        except OSError as exc:
            self._break()
            raise ClientDisconnected("the client has gone") from exc

    def _break(self) -> None:
        """The connection broke: nobody shall wait for it any more."""
        self.lost = True
        self._drop_corked()
        self._unsent = NOTHING
        self._note_drained()

    def has_input(self) -> bool:
        return not self.lost and peek_input(self._sock)

    def send_eof(self) -> None:
        self.uncork()
        self._finishes = True
        if not self._unsent:
            self._send_end()

    def _send_end(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._break()

    def close_nowait(self) -> bool:
        if self._corked:
            self._closes = True  # once the response has left with those of the others
            return True
        if self._unsent:
            return False
        self._hang_up()
        return True

    async def aclose(self) -> None:
        self.uncork()
        try:
            if self.congested:
                await self.drain()
        except ClientDisconnected:
            pass  # that is what closing is for
        except BaseException:
            self.abort()
            raise
        self._hang_up()

    def _hang_up(self) -> None:
        if not self.lost:
            hang_up(self._sock)
        self._close()

    def abort(self) -> None:
        if self._sock.fileno() >= 0:
            reset_on_close(self._sock)
            self._close()

    def _close(self) -> None:
        self._break()
        self._sock.close()


class PlainStream(TrioStream):
    """Portable: trio's own readiness."""

    __slots__ = ("_ahead", "_finished", "_reading", "_room_ahead", "_waiting")

    def __init__(self, sock: socket.socket, peer: Address | None, local: Address | None, cork: Cork) -> None:
        super().__init__(sock, peer, local, cork)
        self._reading = trio.Lock()  # receive_some and wait_disconnected take turns at the socket
        self._ahead = b""
        self._room_ahead = trio.Event()  # set when somebody has taken what was read ahead
        self._finished = False
        self._waiting: trio.CancelScope | None = None  # around the wait of receive_some

    def receive_nowait(self, max_bytes: int = RECEIVE_BYTES) -> bytes | None:
        if self._has_ahead:
            return self._take_ahead()
        return self._receive(max_bytes)

    @property
    def _has_ahead(self) -> bool:
        """Bytes or the end have been read ahead."""
        return bool(self._ahead) or self._finished

    async def receive_some(self, max_bytes: int = RECEIVE_BYTES) -> bytes:
        if self._waiting is not None:
            raise trio.BusyResourceError("another task is receiving from this connection")
        if self._has_ahead:  # whoever watches for the end may hold the lock for long
            return self._take_ahead()
        with trio.CancelScope() as self._waiting:
            try:
                async with self._reading:
                    if self._has_ahead:
                        return self._take_ahead()
                    return await self._wait_and_receive(max_bytes)
            finally:
                self._waiting = None
        return self.receive_nowait(max_bytes) or b""  # interrupted

    def interrupt(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()

    def has_input(self) -> bool:
        return super().has_input() or (bool(self._ahead) and not self.lost)

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
            if (data := self._receive(max_bytes)) is not None:
                return data

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

    def wakes_at_end(self, tasks: WaitingTasks) -> bool:
        return False  # trio knows of no end that nobody reads

    def _flush_when_writable(self) -> None:
        self._cork.tasks.start_soon(self._flush_until_done)

    async def _flush_until_done(self) -> None:
        while not self._flush():
            try:
                await trio.lowlevel.wait_writable(self._sock)
            except (trio.ClosedResourceError, OSError):
                self._break()

    async def _wait_writable(self) -> None:
        self._note_congested()
        try:
            await trio.lowlevel.wait_writable(self._sock)
        except (trio.ClosedResourceError, OSError) as exc:
            self._break()
            raise ClientDisconnected("the client has gone") from exc
        finally:
            self._note_drained()

    def _break(self) -> None:
        super()._break()
        self._room_ahead.set()  # who waits there shall see it

    def _close(self) -> None:
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self._sock)
        super()._close()
