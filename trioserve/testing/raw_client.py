"""A client that sends and receives bytes, and may behave as badly as a client can."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import anyio
import anyio.abc

from trioserve._errors import ClientDisconnected
from trioserve._streams.memory import MemoryClient

__all__ = ["RawClient", "raw_request"]

RECEIVE_BYTES: Final = 64 * 1024


def raw_request(
    method: str = "GET", target: str = "/", body: bytes = b"", *, headers: Mapping[str, str] | None = None,
    length: int | None = None,
) -> bytes:  # fmt: skip
    """The bytes of a request of HTTP/1.1 (RFC 9112 §2.1).

    Args:
        body: what is sent of the body.
        headers: besides ``Host`` and ``Content-Length``, or in their place.
        length: bytes that ``Content-Length`` promises, where that is not the length of ``body``.
    """
    fields = {"host": "test"}
    if body or length is not None:
        fields["content-length"] = str(len(body) if length is None else length)
    fields |= {name.lower(): value for name, value in (headers or {}).items()}
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


class RawClient(anyio.abc.ByteStream):
    """One connection to the server, a ``ByteStream`` of anyio's. ``MemoryServer.connect`` makes it.

    So ``receive`` raises ``anyio.EndOfStream`` when the server has finished, and ``send`` and ``receive`` raise
    ``anyio.BrokenResourceError`` when it has broken the connection. ``BufferedByteStream`` of anyio's can be put around
    it. All seconds are those of the event loop's clock, which may be virtual.

    Attributes:
        is_closed: by this client, in one way or another.
    """

    def __init__(self, stream: MemoryClient) -> None:
        self._stream = stream
        self.is_closed = False

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """Both addresses, as ``anyio.abc.SocketAttribute`` names them."""
        return {
            anyio.abc.SocketAttribute.local_address: lambda: self._stream.local,
            anyio.abc.SocketAttribute.remote_address: lambda: self._stream.peer,
        }

    @property
    def has_input(self) -> bool:
        """``receive`` would not wait: there are bytes, or the end."""
        return self._stream.has_input() or self._stream.is_disconnected()

    # A client as it should be.

    async def send(self, item: bytes) -> None:
        """Send ``item``; waits while the server does not read. If cancelled, part of it may have been sent."""
        self._check_open()
        try:
            await self._stream.send_all(item)
        except ClientDisconnected as exc:
            raise anyio.BrokenResourceError("the server has broken the connection") from exc

    def send_nowait(self, item: bytes) -> None:
        """Send ``item`` without waiting, however much the server has not read yet."""
        self._check_open()
        self._stream.send_nowait(item)

    async def receive(self, max_bytes: int = RECEIVE_BYTES) -> bytes:
        """At least one byte, at most ``max_bytes``."""
        self._check_open()
        try:
            data = await self._stream.receive_some(max_bytes)
        except ClientDisconnected as exc:
            raise anyio.BrokenResourceError("the server has broken the connection") from exc
        if not data:
            raise anyio.EndOfStream
        return data

    async def receive_rest(self) -> bytes:
        """Everything until the server ends the connection, with or without a reset."""
        self._check_open()
        return await self._stream.receive_rest()

    async def aclose(self) -> None:
        """Close both directions. Bytes of the server that were not received make it a reset (RFC 9112 §9.6)."""
        if not self.is_closed:
            self.is_closed = True
            await self._stream.aclose()

    # A client that misbehaves.

    async def send_slowly(self, data: bytes, *, bytes_per_second: int) -> None:
        """Send ``bytes_per_second`` bytes at once, then wait a second, and so on until all of ``data`` is sent."""
        await self._send_in_pieces(data, bytes_per_second, 1.0)

    async def drip(self, data: bytes, *, every: float = 1.0) -> None:
        """Send one byte, then wait for ``every`` seconds, and so on until all of ``data`` is sent."""
        await self._send_in_pieces(data, 1, every)

    async def receive_slowly(self, *, bytes_per_second: int) -> bytes:
        """Everything until the server ends the connection, at most ``bytes_per_second`` bytes in each second."""
        received = b""
        try:
            while True:
                received += await self.receive(bytes_per_second)
                await anyio.sleep(1)
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return received

    async def send_eof(self) -> None:
        """Half-close: send no more, and go on receiving. To the server this may be a client that has left."""
        self._check_open()
        self._stream.send_eof()

    def stop_reading(self) -> None:
        """From now on nothing of what the server sends leaves it, as with a client that reads no more.

        What has arrived before can be received.
        """
        self._check_open()
        self._stream.close_window()

    def reset(self) -> None:
        """Vanish with a reset: the server learns at once that the client has gone."""
        self.is_closed = True
        self._stream.abort()

    def vanish(self) -> None:
        """Vanish without a word, as when a cable is cut: only a timeout of the server's can tell."""
        self._check_open()
        self.is_closed = True

    async def _send_in_pieces(self, data: bytes, size: int, seconds: float) -> None:
        if size < 1:
            raise ValueError(f"a piece has at least one byte, not {size}")
        for start in range(0, len(data), size):
            if start:
                await anyio.sleep(seconds)
            await self.send(data[start : start + size])

    def _check_open(self) -> None:
        if self.is_closed:
            raise anyio.ClosedResourceError
