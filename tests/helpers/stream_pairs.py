"""Both ends of a connection, over every kind of stream there is."""

import contextlib
import select
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

import anyio
import pytest

from tests.helpers.certificates import client_context, identity
from trioserve import ClientDisconnected
from trioserve._streams import ByteStream, Listener, Network
from trioserve._streams.memory import MemoryClient, MemoryListener
from trioserve._streams.proxied import ProxiedListener
from trioserve._streams.tls import TlsListener
from trioserve._trust import TrustedPeers
from trioserve.testing import virtual_backend
from trioserve.testing.virtual_time import Backend

__all__ = [
    "KINDS", "MUCH", "PLAIN_KINDS", "PROXIED_KINDS", "Kind", "Pair", "Peer", "TlsPeer", "connect_to", "connected",
    "eventually", "fill_kernel", "listening", "skip_if_missing", "waits",
]  # fmt: skip

MUCH: Final = bytes(range(256)) * 4096  # 1 MiB, more than all buffers on the way
SMALL: Final = 16 * 1024  # bytes of kernel buffer, so that little data is enough to fill one


@dataclass(frozen=True)
class Kind:
    """A kind of stream and the backend it runs on; ``network`` is ``None`` for memory.

    ``proxied``: each connection begins with a header of the PROXY protocol.
    """

    name: str
    backend: Callable[[], str | Backend]
    network: Callable[[], Network] | None
    proxied: bool = False
    tls: bool = False

    @property
    def takes_files(self) -> bool:
        """Its streams have a ``file_outlet``: there is a kernel, and nothing to encrypt."""
        return self.network is not None and not self.tls

    def __str__(self) -> str:
        return self.name


def _trio_network(edge_triggered: bool) -> Network:
    from trioserve._streams.on_trio.network import TrioNetwork

    return TrioNetwork(edge_triggered=edge_triggered)


def _asyncio_network() -> Network:
    from trioserve._streams.on_asyncio.network import AsyncioNetwork

    return AsyncioNetwork()


PLAIN_KINDS: Final = [
    Kind("trio-edge", lambda: "trio", lambda: _trio_network(True)),
    Kind("trio-plain", lambda: "trio", lambda: _trio_network(False)),
    Kind("asyncio", lambda: "asyncio", _asyncio_network),
    Kind("uvloop", lambda: ("asyncio", {"use_uvloop": True}), _asyncio_network),
    Kind("memory-trio", lambda: virtual_backend("trio"), None),
    Kind("memory-asyncio", lambda: virtual_backend("asyncio"), None),
]
KINDS: Final = PLAIN_KINDS + [Kind(f"tls-{kind.name}", kind.backend, kind.network, tls=True) for kind in PLAIN_KINDS]

PROXIED_KINDS: Final = [
    Kind("proxied-trio-edge", lambda: "trio", lambda: _trio_network(True), proxied=True),
    Kind("proxied-asyncio", lambda: "asyncio", _asyncio_network, proxied=True),
    Kind("proxied-memory-trio", lambda: virtual_backend("trio"), None, proxied=True),
    Kind("tls-proxied-trio-edge", lambda: "trio", lambda: _trio_network(True), proxied=True, tls=True),
    Kind("tls-proxied-memory-asyncio", lambda: virtual_backend("asyncio"), None, proxied=True, tls=True),
]


def skip_if_missing(kind: Kind) -> None:
    """Not every machine has every kind."""
    if kind.name.endswith("uvloop"):
        pytest.importorskip("uvloop")
    if kind.name.endswith("trio-edge") and not hasattr(select, "epoll"):
        pytest.skip("this machine has no epoll")


class Peer(Protocol):
    """The client's end. A broken connection is a ``ConnectionError``."""

    def send_first(self, data: bytes) -> None: ...
    async def open(self) -> None: ...
    async def send(self, data: bytes) -> None: ...
    async def receive(self, max_bytes: int = 65536) -> bytes: ...
    async def send_eof(self) -> None: ...
    def close(self) -> None: ...
    def reset(self) -> None: ...


class SocketPeer:
    """A plain socket, on whatever event loop runs."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock

    def send_first(self, data: bytes) -> None:
        """Send so little that it fits into any buffer."""
        assert self.sock.send(data) == len(data)

    async def open(self) -> None:
        """Nothing: it is connected."""

    async def send(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[self.sock.send(left):]
            except BlockingIOError:
                await anyio.wait_writable(self.sock)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        while True:
            try:
                return self.sock.recv(max_bytes)
            except BlockingIOError:
                await anyio.wait_readable(self.sock)

    async def send_eof(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class MemoryPeer:
    """The same face for the client's end in memory."""

    def __init__(self, client: MemoryClient) -> None:
        self.client = client

    def send_first(self, data: bytes) -> None:
        self.client.send_nowait(data)

    async def open(self) -> None:
        """Nothing: it is connected."""

    async def send(self, data: bytes) -> None:
        try:
            await self.client.send_all(data)
        except ClientDisconnected as exc:
            raise ConnectionResetError from exc

    async def receive(self, max_bytes: int = 65536) -> bytes:
        try:
            return await self.client.receive_some(max_bytes)
        except ClientDisconnected as exc:
            raise ConnectionResetError from exc

    async def send_eof(self) -> None:
        self.client.send_eof()

    def close(self) -> None:
        if not self.client.close_nowait():
            self.client.abort()

    def reset(self) -> None:
        self.client.abort()


class TlsPeer:
    """TLS over one of those; ``piece`` bytes are sent at once, all together without it."""

    def __init__(self, inner: Peer, context: ssl.SSLContext, *, piece: int | None = None) -> None:
        self.inner = inner
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self._piece = piece
        self._is_open = False
        self._sending = anyio.Lock()

    def send_first(self, data: bytes) -> None:
        """In the clear."""
        self.inner.send_first(data)

    async def open(self) -> None:
        await self.perform(self.ssl.do_handshake)
        await self.flush()
        self._is_open = True

    async def send(self, data: bytes) -> None:
        if not self._is_open:
            await self.open()
        for start in range(0, len(data), 65536):
            self.ssl.write(data[start : start + 65536])
            await self.flush()

    async def receive(self, max_bytes: int = 65536) -> bytes:
        try:
            data: bytes = await self.perform(lambda: self.ssl.read(max_bytes))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""
        return data

    async def perform(self, step: Callable[[], Any]) -> Any:
        """Call ``step`` until it needs no more bytes from the other side, sending what there is to send."""
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                await self.flush()
                if data := await self.inner.receive():
                    self.incoming.write(data)
                else:
                    self.incoming.write_eof()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                raise
            except ssl.SSLError:
                await self.flush()  # the alert
                raise

    async def flush(self) -> None:
        async with self._sending:
            data = self.outgoing.read()
            for start in range(0, len(data), self._piece or len(data) or 1):
                await self.inner.send(data[start : start + self._piece] if self._piece else data)

    async def notify_close(self) -> None:
        """``close_notify``, and nothing more."""
        with contextlib.suppress(ssl.SSLError):  # it would wait for the other side's
            self.ssl.unwrap()
        await self.flush()

    async def send_eof(self) -> None:
        await self.notify_close()
        await self.inner.send_eof()

    def close(self) -> None:
        self.inner.close()

    def reset(self) -> None:
        self.inner.reset()


@dataclass
class Pair:
    """A connection: the server's end, the client's, and where it was accepted."""

    stream: ByteStream
    peer: Peer
    listener: Listener

    async def receive_all(self) -> bytes:
        """What the server's end receives until the client has finished."""
        received = b""
        while data := await self.stream.receive_some():
            received += data
        return received

    async def peer_receives(self, count: int) -> bytes:
        """The next ``count`` bytes at the client's end."""
        received = b""
        while len(received) < count:
            data = await self.peer.receive(count - len(received))
            assert data, "the connection ended early"
            received += data
        return received

    async def peer_receives_all(self) -> bytes:
        received = b""
        while data := await self.peer.receive():
            received += data
        return received


@asynccontextmanager
async def listening(kind: Kind) -> AsyncIterator[tuple[Listener, Callable[[], Peer]]]:
    """A listener, and what connects to it."""
    async with listening_in_the_clear(kind) as (listener, connect):
        if kind.tls:
            yield TlsListener(listener, identity()), lambda: TlsPeer(connect(), client_context())
        else:
            yield listener, connect


@asynccontextmanager
async def listening_in_the_clear(kind: Kind) -> AsyncIterator[tuple[Listener, Callable[[], Peer]]]:
    if kind.network is None:
        memory = MemoryListener()
        yield _as_kind(kind, memory, lambda: MemoryPeer(memory.connect()))
        memory.close()
        return
    network = kind.network()
    async with anyio.create_task_group() as services:
        await services.start(network.run)
        sock = socket.create_server(("127.0.0.1", 0))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)  # accepted sockets inherit it
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        listener = network.listen(sock)
        try:
            yield _as_kind(kind, listener, lambda: connect_to(listener.address))
        finally:
            listener.close()
        services.cancel_scope.cancel()


def _as_kind(kind: Kind, listener: Listener, connect: Callable[[], Peer]) -> tuple[Listener, Callable[[], Peer]]:
    def connect_through_proxy() -> Peer:
        peer = connect()
        peer.send_first(b"PROXY UNKNOWN\r\n")
        return peer

    if not kind.proxied:
        return listener, connect
    return ProxiedListener(listener, TrustedPeers("*"), seconds=None), connect_through_proxy


def connect_to(address: Any) -> Peer:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    sock.connect(address)
    return SocketPeer(sock)


@asynccontextmanager
async def connected(kind: Kind) -> AsyncIterator[Pair]:
    """A new connection, both ends of which are closed in the end."""
    async with listening(kind) as (listener, connect):
        peer = connect()
        stream = await listener.accept()
        async with anyio.create_task_group() as opening:
            opening.start_soon(stream.open)
            opening.start_soon(peer.open)
        try:
            yield Pair(stream, peer, listener)
        finally:
            stream.abort()
            peer.close()


def fill_kernel(sock: socket.socket) -> None:
    """Send until the kernel takes not one byte more."""
    for size in (65536, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                sock.send(bytes(size))


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until ``condition`` holds; the test's own deadline is the only one."""
    while not condition():  # noqa: ASYNC110  # sockets have no event for it
        await anyio.sleep(0.001)


async def waits(task: Callable[[], Any]) -> bool:
    """``task`` is still waiting when everything that could happen has happened; it is cancelled then."""
    done = anyio.Event()

    async def run() -> None:
        await task()
        done.set()

    async with anyio.create_task_group() as running:
        running.start_soon(run)
        for _ in range(10):
            await anyio.sleep(0.001)
        running.cancel_scope.cancel()
    return not done.is_set()


def send_pieces(stream: ByteStream, pieces: Sequence[bytes]) -> None:
    """``send_pieces_nowait``, which wants to know how much that is."""
    stream.send_pieces_nowait(pieces, sum(map(len, pieces)))
