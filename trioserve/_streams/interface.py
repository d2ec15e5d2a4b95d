"""What the server needs of a network, and nothing more. One implementation per backend, one in memory."""

from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol, TypeAlias

import anyio.abc

__all__ = ["GATHER_BYTES", "RECEIVE_BYTES", "Address", "ByteStream", "Cancellable", "Listener", "Network", "Nursery",
           "TaskFunction"]  # fmt: skip

RECEIVE_BYTES: Final = 64 * 1024  # bytes; one syscall holds a typical request, and malloc serves it without mmap

GATHER_BYTES: Final = 16 * 1024  # many pieces smaller than this together are sent faster as one

Address: TypeAlias = tuple[str, int | None]
"""``(host, port)``, or ``(path, None)`` for a unix socket; IPv6 without flow and scope."""


class ByteStream(Protocol):
    """A connected, bidirectional stream of bytes. One task reads, one task writes, at a time.

    Attributes:
        peer: the client's address, ``None`` when it has none (unix sockets).
        local: the address that the client connected to.
        lost: the connection is broken: nothing can be sent any more.
        congested: the peer is slower than we are; ``drain`` before sending more.
    """

    @property
    def peer(self) -> Address | None: ...
    @property
    def local(self) -> Address | None: ...
    @property
    def lost(self) -> bool: ...
    @property
    def congested(self) -> bool: ...

    async def open(self) -> None:
        """Do what must come before the first byte, in the connection's own task. Raises ClientDisconnected."""

    async def receive_some(self, max_bytes: int = RECEIVE_BYTES) -> bytes:
        """Wait for bytes; ``b""`` when the peer has finished sending. ``max_bytes`` is a wish, not a bound.

        One task at a time may wait. If cancelled, nothing that has arrived is lost.

        Raises:
            ClientDisconnected: the connection broke.
        """

    def receive_nowait(self, max_bytes: int = RECEIVE_BYTES) -> bytes | None:
        """What ``receive_some`` would return at once, or ``None`` if it would wait. Raises ClientDisconnected."""

    def send_nowait(self, data: bytes) -> None:
        """Take all of ``data``; what the network does not take now follows by itself as the peer reads.

        Nothing is raised when the connection breaks: see ``lost``. Callers bound what they hand over by ``drain``.
        """

    def send_pieces_nowait(self, pieces: Sequence[bytes], size: int) -> None:
        """The same for ``size`` bytes in many pieces, which need not be copied into one; they are the stream's now."""

    async def drain(self) -> None:
        """Wait until the stream is no longer congested; returns without a checkpoint when it is not.

        Raises:
            ClientDisconnected: the connection broke, and bytes were lost.
        """

    def be_strict(self) -> None:
        """From now on the stream is congested as long as a single byte is unsent."""

    @property
    def unsent(self) -> int:
        """Bytes that the network has not taken yet."""

    def untaken(self) -> int:
        """Bytes that the peer has not acknowledged, as far as that can be known: a measure of its progress."""

    def is_disconnected(self) -> bool:
        """The peer has finished sending and all its bytes have been received, or the connection broke."""

    async def wait_disconnected(self) -> None:
        """Wait until the peer has finished sending or the connection broke. May run beside ``receive_some``.

        Bytes that arrive meanwhile are kept, within bounds, for ``receive_some``.
        """

    def send_eof(self) -> None:
        """Tell the peer that no bytes follow those unsent; receiving goes on. Does nothing on a lost connection."""

    def close_nowait(self) -> bool:
        """Close, unless bytes are still unsent; true when it is done."""

    async def aclose(self) -> None:
        """Send what is unsent, then close. When cancelled, the connection is aborted."""

    def abort(self) -> None:
        """Close at once with a reset, dropping what is unsent. Does nothing to a closed stream; never raises."""


class Listener(Protocol):
    """A listening socket."""

    address: Address

    async def accept(self) -> ByteStream:
        """The next connection, not opened yet. Raises OSError as ``accept(2)`` does."""

    def accept_nowait(self) -> ByteStream | None:
        """A connection that waits to be accepted, ``None`` if there is none. Raises as ``accept``."""

    def close(self) -> None:
        """Stop listening. Waiting ``accept`` calls must have been cancelled before."""


TaskFunction: TypeAlias = Callable[..., Coroutine[Any, Any, None]]


class Cancellable(Protocol):
    """A started task."""

    def cancel(self) -> None: ...


class Nursery(Protocol):
    """Tasks that can be cancelled one by one, in a scope of each; leaving the nursery waits for all of them.

    An anyio task group does the same on every backend, and more; one task of it costs 14 us on trio and 10 on asyncio
    where these cost 8 and 5, which is a tenth of a short connection.
    """

    def start_soon(self, function: TaskFunction, *args: object) -> Cancellable:
        """Start a task, which runs its first step even if it is cancelled before."""


class Network(Protocol):
    """A backend's sockets and clock, for one run of one server."""

    clock: Callable[[], float]
    """The event loop's time in seconds, virtual in tests."""

    def listen(self, sock: Any) -> Listener:
        """A listener on a bound, listening ``socket.socket``, which it owns from now on."""

    def open_nursery(self) -> AbstractAsyncContextManager[Nursery]:
        """For the tasks of connections."""

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """A task for the server's nursery: whatever the streams need done in the background; until ``finish``."""

    async def finish(self) -> None:
        """Nobody uses a stream any more: wait until those that were closed with bytes unsent have sent them.

        That is bounded for each of them; when ``run`` is cancelled, they are aborted.
        """
