"""Connections that begin with a header of the PROXY protocol, over any other kind of stream, TLS not yet begun."""

import logging
from collections.abc import Callable, Sequence
from typing import NoReturn

import anyio

from trioserve._complaints import complain
from trioserve._errors import ClientDisconnected
from trioserve._protocol.proxy_line import ProxyLine, read_proxy_line
from trioserve._streams.interface import (
    RECEIVE_BYTES,
    Address,
    ByteStream,
    Corked,
    FileOutlet,
    Listener,
    SendObserver,
    WaitingTasks,
)
from trioserve._trust import TrustedPeers

__all__ = ["ProxiedListener", "ProxiedStream"]

log = logging.getLogger("trioserve")


class ProxiedListener:
    """Accepts what ``listener`` accepts. ``seconds`` is the time that a header may take, ``None`` for any."""

    def __init__(self, listener: Listener, trusted: TrustedPeers, seconds: float | None) -> None:
        self._listener = listener
        self._trusted = trusted
        self._seconds = seconds
        self.address = listener.address

    async def accept(self) -> ByteStream:
        return ProxiedStream(await self._listener.accept(), self._trusted, self._seconds)

    def accept_nowait(self) -> ByteStream | None:
        stream = self._listener.accept_nowait()
        return ProxiedStream(stream, self._trusted, self._seconds) if stream is not None else None

    def close(self) -> None:
        self._listener.close()


class ProxiedStream:
    """A ``ByteStream`` whose ``open`` reads the header; ``peer`` and ``local`` are then those that it tells of.

    A peer that is not trusted, or that sends something else, is refused with a line in the log.
    """

    __slots__ = ("_is_open", "_leftover", "_seconds", "_stream", "_trusted", "local", "peer")

    def __init__(self, stream: ByteStream, trusted: TrustedPeers, seconds: float | None) -> None:
        self._stream = stream
        self._trusted = trusted
        self._seconds = seconds
        self._is_open = False  # until then it is open() that receives
        self._leftover = b""  # came together with the header
        self.peer: Address | None = stream.peer
        self.local: Address | None = stream.local

    needs_opening = True

    async def open(self) -> None:
        """Read the header. Raises ClientDisconnected if the peer is refused; the stream is closed if that fails."""
        try:
            await self._stream.open()
            try:
                with anyio.fail_after(self._seconds):
                    line = await self._read_line()
            except ValueError as exc:
                self._refuse(str(exc))
            except TimeoutError:
                self._refuse(f"it sent no whole PROXY header within {self._seconds:g} seconds")
        except BaseException:
            self.abort()
            raise
        self._is_open = True
        if line.endpoints is not None:
            self.peer, local = line.endpoints
            self.local = local or self.local

    async def _read_line(self) -> ProxyLine:
        """The header; raises ValueError for what is none."""
        if not self._trusted.peer(self.peer, self.local):
            raise ValueError("it is not one of the trusted proxies (forwarded_allow_ips)")
        data = b""
        while (line := read_proxy_line(data)) is None:
            received = await self._stream.receive_some()
            if not received and not data:
                raise ClientDisconnected("nothing was sent")  # a probe that only asks whether somebody accepts
            if not received:
                raise ValueError("it ended before its PROXY header did")
            data += received
        self._leftover = data[line.size :]
        return line

    def _refuse(self, reason: str) -> NoReturn:
        who = self.peer or "a unix socket's client"
        complain(log, "Refused the connection of %s: %s", who, reason, level=logging.WARNING)
        raise ClientDisconnected(reason)

    # The rest is the stream's own affair, but for bytes that came too early.

    @property
    def lost(self) -> bool:
        return self._stream.lost

    @property
    def congested(self) -> bool:
        return self._stream.congested

    @property
    def observer(self) -> SendObserver | None:
        return self._stream.observer

    @observer.setter
    def observer(self, observer: SendObserver | None) -> None:
        self._stream.observer = observer

    @property
    def unsent(self) -> int:
        return self._stream.unsent

    async def receive_some(self, max_bytes: int = RECEIVE_BYTES) -> bytes:
        return self._take_leftover() or await self._stream.receive_some(max_bytes)

    def receive_nowait(self, max_bytes: int = RECEIVE_BYTES) -> bytes | None:
        return self._take_leftover() or self._stream.receive_nowait(max_bytes)

    def _take_leftover(self) -> bytes:
        data, self._leftover = self._leftover, b""
        return data

    def has_input(self) -> bool:
        return (bool(self._leftover) and not self.lost) or self._stream.has_input()

    def call_when_input(self, callback: Callable[[], None]) -> bool:
        return not self._leftover and self._stream.call_when_input(callback)

    def interrupt(self) -> None:
        if self._is_open:
            self._stream.interrupt()

    def send_nowait(self, data: bytes) -> None:
        self._stream.send_nowait(data)

    def send_pieces_nowait(self, pieces: Sequence[bytes], size: int) -> None:
        self._stream.send_pieces_nowait(pieces, size)

    @property
    def file_outlet(self) -> FileOutlet | None:
        return self._stream.file_outlet

    async def drain(self) -> None:
        await self._stream.drain()

    def defers(self, sender: Corked, *, expects_others: bool) -> bool:
        return self._stream.defers(sender, expects_others=expects_others)

    def uncork(self) -> None:
        self._stream.uncork()

    def untaken(self) -> int:
        return self._stream.untaken()

    def wire_bytes(self) -> tuple[int, int] | None:
        return self._stream.wire_bytes()

    def is_disconnected(self) -> bool:
        return self.lost or (not self._leftover and self._stream.is_disconnected())

    async def wait_disconnected(self) -> None:
        await self._stream.wait_disconnected()

    def wakes_at_end(self, tasks: WaitingTasks) -> bool:
        return self._stream.wakes_at_end(tasks)

    def send_eof(self) -> None:
        self._stream.send_eof()

    def close_nowait(self) -> bool:
        return self._stream.close_nowait()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def abort(self) -> None:
        self._leftover = b""
        self._stream.abort()
