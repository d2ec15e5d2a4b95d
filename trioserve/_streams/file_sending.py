"""Files on their way from the kernel's memory to a socket, without passing through ours: sendfile(2)."""

import contextlib
import os
import socket
import sys
from typing import Final

from trioserve._errors import ClientDisconnected
from trioserve._streams.cork import Corkable
from trioserve._streams.interface import FileOutlet

__all__ = ["FileSender"]

_HAS_SENDFILE: Final = sys.platform != "win32"
_MORE: Final = getattr(socket, "MSG_MORE", 0)  # Linux: no packet, and no client woken, for the head alone
_NOT_SENT_LIMIT: Final = getattr(socket, "TCP_NOTSENT_LOWAT", None)

# Bytes of a file in the kernel that it has no leave to send yet. Without a bound, its buffer grows to megabytes: each
# slow client has one, and a fast one gets a 10 MiB file for 1.6 ms of our time instead of 1.05, half as often. The
# cliff is at the 64 KiB that the kernel passes to a network interface at once.
_NOT_SENT_BYTES: Final = 48 * 1024


class FileSender(Corkable):
    """The sending side of a socket, with ``send_file``."""

    __slots__ = ()

    async def _wait_writable(self) -> None:
        """Note that the stream is congested, and wait until the kernel takes more. Raises ClientDisconnected."""
        raise NotImplementedError

    async def drain(self) -> None:
        raise NotImplementedError

    @property
    def file_outlet(self) -> FileOutlet | None:
        return self if _HAS_SENDFILE else None

    async def send_file(self, head: bytes, descriptor: int, offset: int, count: int) -> int:
        self.uncork()
        if head:
            self._transmit_pieces([head], len(head), _MORE)
        await self.drain()
        self._limit_not_sent(_NOT_SENT_BYTES)
        sent = await self._send_by_kernel(descriptor, offset, count)
        self._limit_not_sent(0)  # anything else shall be taken from us at once
        return sent

    async def _send_by_kernel(self, descriptor: int, offset: int, count: int) -> int:
        if sys.platform == "win32":
            raise NotImplementedError("there is no file_outlet")
        start, end = offset, offset + count
        while offset < end:
            try:
                sent = os.sendfile(self._sock.fileno(), descriptor, offset, end - offset)
            except BlockingIOError:
                await self._wait_writable()
            except ConnectionError as exc:
                self._break()
                raise ClientDisconnected("the client has gone") from exc
            except OSError:  # it may be the file's fault, or that of its file system
                break
            else:
                offset += sent
                if not sent:
                    break
        return offset - start

    def _limit_not_sent(self, size: int) -> None:
        """0 is no limit."""
        if _NOT_SENT_LIMIT is not None:
            with contextlib.suppress(OSError):  # a unix socket
                self._sock.setsockopt(socket.IPPROTO_TCP, _NOT_SENT_LIMIT, size)
