"""What the server needs of a network, and nothing more. One implementation per backend, one in memory."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from types import FrameType
from typing import Any, Final, Protocol, TypeAlias

import anyio.abc

__all__ = ["AT_ONCE_BYTES", "GATHER_BYTES", "RECEIVE_BYTES", "Address", "ByteStream", "Cancellable",
           "CancellableNursery", "Corked", "FileOutlet", "Listener", "Network", "Nursery", "NurseryFunction",
           "SendObserver",
           "TaskFunction", "WaitingTasks"]  # fmt: skip

RECEIVE_BYTES: Final = 64 * 1024  # bytes; one syscall holds a typical request, and malloc serves it without mmap

GATHER_BYTES: Final = 16 * 1024  # many pieces smaller than this together are sent faster as one

AT_ONCE_BYTES: Final = 64 * 1024  # so much never waits for other tasks: it may be more than the network takes

Address: TypeAlias = tuple[str, int | None]
"""``(host, port)``, or ``(path, None)`` for a unix socket; IPv6 without flow and scope."""


class SendObserver(Protocol):
    """Is told when a stream becomes congested, and when it no longer is. Plain calls, which must not raise."""

    def on_congested(self) -> None:
        """Bytes wait for the network: called by the ``send`` or ``uncork`` that was too much for it."""

    def on_drained(self) -> None:
        """None do any more: the network has taken all, or the connection broke (see ``lost``)."""


class Corked(Protocol):
    """Has something to send at the end of the turn."""

    def uncork(self) -> None:
        """The turn is over. Must not raise."""


class FileOutlet(Protocol):
    """A stream whose network takes bytes of files by itself, so that they need not be read."""

    async def send_file(self, head: bytes, descriptor: int, offset: int, count: int) -> int:
        """Send ``head``, then ``count`` bytes of an open file from ``offset`` on; returns how many of these were sent.

        They are fewer when the file ends before, or when it is none that the kernel sends: to read on shows which.
        One task sends at a time. What is not in memory is waited for without others getting their turn. If cancelled,
        a part of it is on the wire: the stream is only good for closing.

        Raises:
            ClientDisconnected: the connection broke.
        """


class ByteStream(Protocol):
    """A connected, bidirectional stream of bytes. One task reads, one task writes, at a time.

    Attributes:
        peer: the client's address, ``None`` when it has none (unix sockets).
        local: the address that the client connected to.
        lost: the connection is broken: nothing can be sent any more.
        congested: bytes that were handed over wait for the network to take them; ``drain`` before sending more. What
            waits for other tasks of the turn does not count; it is less than ``AT_ONCE_BYTES``.
        observer: is told each time that ``congested`` changes.
        needs_opening: ``open`` has something to do.
    """

    observer: SendObserver | None
    needs_opening: bool

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

        One task at a time may wait; see also ``interrupt``. If cancelled, nothing that has arrived is lost.

        Raises:
            ClientDisconnected: the connection broke.
        """

    def receive_nowait(self, max_bytes: int = RECEIVE_BYTES) -> bytes | None:
        """What ``receive_some`` would return at once, or ``None`` if it would wait. Raises ClientDisconnected."""

    def has_input(self) -> bool:
        """There are bytes to receive, although the event loop may not have seen them yet. The end alone is none.

        Over TLS these may turn out to be no more than a part of a record. False on a lost stream; never raises.
        """

    def call_when_input(self, callback: Callable[[], None]) -> bool:
        """Call ``callback`` once, as soon as ``receive_some`` would return or raise, or is interrupted.

        Who calls it does so instead of waiting in ``receive_some``, and is called back once even if the stream breaks
        or is closed. False: it would return at once, or this stream does not call; then nothing is called.
        """

    def interrupt(self) -> None:
        """Let ``receive_some``, if a task waits there now, return: what has arrived, ``b""`` if nothing has.

        That is not the peer's end, and the stream does not take it for one.
        """

    def send_nowait(self, data: bytes) -> None:
        """Take all of ``data``; what the network does not take now follows by itself as the peer reads.

        Nothing is raised when the connection breaks: see ``lost``. Callers bound what they hand over by ``drain``.
        """

    def send_pieces_nowait(self, pieces: Sequence[bytes], size: int) -> None:
        """The same for ``size`` bytes in many pieces, which need not be copied into one; they are the stream's now."""

    @property
    def file_outlet(self) -> FileOutlet | None:
        """The stream itself, when files need not be read for it."""

    async def drain(self) -> None:
        """Wait until the stream is no longer congested; returns without a checkpoint when it is not.

        Raises:
            ClientDisconnected: the connection broke, and bytes were lost.
        """

    def uncork(self) -> None:
        """Send now what was handed over, and not at the end of the turn, together with what other tasks send."""

    def defers(self, sender: Corked, *, expects_others: bool) -> bool:
        """True when it is not the end of the turn: ``sender`` has until then to collect, and is uncorked there.

        ``expects_others``: what other tasks of the turn have to say would leave with it, so that the end of the turn
        is worth waiting for, even if nobody else waits for it.
        """

    @property
    def unsent(self) -> int:
        """Bytes that the network has not taken yet, large messages that wait for other tasks included."""

    def untaken(self) -> int:
        """Bytes that the peer has not acknowledged, as far as that can be known: a measure of its progress."""

    def wire_bytes(self) -> tuple[int, int] | None:
        """Bytes received, and bytes sent and acknowledged, since it was connected; ``None`` if nobody counts."""

    def is_disconnected(self) -> bool:
        """The peer has finished sending and all its bytes have been received, or the connection broke."""

    async def wait_disconnected(self) -> None:
        """Wait until the peer has finished sending or the connection broke. May run beside ``receive_some``.

        Bytes that arrive meanwhile are kept, within bounds, for ``receive_some``.
        """

    def wakes_at_end(self, tasks: "WaitingTasks") -> bool:
        """Wake ``tasks``, and not those that were named before, as soon as ``wait_disconnected`` would return.

        False: it would return at once, or this stream wakes nobody, so that somebody has to wait there.
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
    """What can be cancelled by itself."""

    def cancel(self) -> None: ...


class Nursery(Protocol):
    """Tasks that end before it does. A task runs its first step even if it is cancelled before.

    An exception in a task cancels the nursery, and comes out of it in a group. A cancellation is said again until the
    task ends, and does not reach what the task has put under a shielded scope of anyio's.
    An anyio task group does the same on every backend, and more, for about twice the time.
    """

    def start_soon(self, function: TaskFunction, *args: object) -> Cancellable:
        """Start a task that can be cancelled by itself."""

    def start_inside(self, function: TaskFunction, *args: object) -> None:
        """Start a task that is cancelled together with the nursery only: cheaper, for what is started often."""

    def start_at_once(self, function: TaskFunction) -> Cancellable | None:
        """The same as ``start_soon``, but where it can, the task takes its first step before this returns.

        ``None`` when it has come to its end in that step. It must not start others in the same way without end.
        """

    def start_on_input(self, function: TaskFunction, stream: ByteStream) -> None:
        """The same for a task that begins with ``receive_some``; where it can, it starts when that need not wait.

        So an idle connection has no task. Once in a nursery at a time. ``interrupt`` starts the task, too.
        """

    def start_nursery(
        self, function: "NurseryFunction", *, name: str | None = None, on_end: Callable[[], None] | None = None,
        on_error: Callable[[Exception], None] | None = None,
    ) -> "CancellableNursery":  # fmt: skip
        """Start a task that runs ``function(child)`` and ends when that and all tasks of ``child`` have ended.

        ``on_end`` is called then, in whatever way it has ended. ``on_error`` is called before that with what has been
        raised, mostly a group, which goes no further; other than an order to stop.

        Until it has begun, ``child`` takes no tasks. ``name`` is for who looks at tasks, and the function's without it.
        """


class CancellableNursery(Nursery, Protocol):
    """A nursery inside a nursery."""

    @property
    def cancel_called(self) -> bool:
        """``cancel`` was called, or an exception did the same. It need not know of nurseries around it."""

    def cancel(self) -> None:
        """Cancel all of its tasks, those of the nurseries in it, and the function that it was made for."""


NurseryFunction: TypeAlias = Callable[[CancellableNursery], Coroutine[Any, Any, None]]


class WaitingTasks(Protocol):
    """Tasks that wait to be woken, all of them at once; true while there are some.

    Like an event that may happen again. It is for what thousands of tasks wait for, because it needs less memory.
    """

    def __bool__(self) -> bool: ...

    def wait(self) -> Awaitable[None]:
        """Until ``wake`` is called; to be awaited at once. Always suspends."""

    def wake(self) -> None:
        """Let those go on that wait now."""


class Network(Protocol):
    """A backend's sockets and clock, for one run of one server."""

    clock: Callable[[], float]
    """The event loop's time in seconds, virtual in tests."""

    call_from_thread: Callable[[Callable[[], object]], object]
    """Lets the event loop call a function soon; for other threads. Raises RuntimeError when the loop has ended."""

    task_per_turn: bool
    """Each request needs a task of its own: much of asyncio's world, other than trio's, is keyed on the task."""

    def listen(self, sock: Any) -> Listener:
        """A listener on a bound, listening ``socket.socket``, which it owns from now on."""

    def is_idle_at(self, frame: FrameType) -> bool:
        """Whether an event loop whose thread has ``frame`` as its innermost one waits for something to happen.

        For other threads. False where this cannot be seen.
        """

    def open_nursery(self) -> AbstractAsyncContextManager[Nursery]:
        """For the tasks of connections."""

    def new_waiting_tasks(self) -> WaitingTasks:
        """None yet."""

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """A task for the server's nursery: whatever the streams need done in the background; until ``finish``."""

    async def finish(self) -> None:
        """Nobody uses a stream any more: wait until those that were closed with bytes unsent have sent them.

        That is bounded for each of them; when ``run`` is cancelled, they are aborted.
        """
