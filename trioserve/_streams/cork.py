"""Tasks that are woken together send together.

Clients that are idle by then are woken once for many responses instead of once for each, which halves the cost of a
small request under load: to wake a sleeping process costs the sender 10 us.
"""

import socket
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from time import perf_counter
from typing import Final

import anyio
import anyio.abc

from trioserve._streams.interface import AT_ONCE_BYTES, GATHER_BYTES, Corked, Nursery, SendObserver
from trioserve._streams.sockets import can_gather, send_pieces, tcp_bytes

__all__ = ["Cork", "Corkable", "CorkedNetwork"]

# A response that is ready waits no longer than this for applications that compute, and then for the one that runs.
CORK_SECONDS: Final = 0.001

CLOSE_SECONDS: Final = 2.0  # for a peer to take the last bytes of a stream that nobody serves any more


class Cork:
    """Holds back what is sent from ``push_in`` to ``pull_out``, but never for long. One for all streams of a server.

    Attributes:
        is_in: it holds back what is sent.
        tasks: for what streams have to do beyond the call that began it; there once the network runs.
    """

    __slots__ = ("_release_at", "_streams", "is_in", "tasks")

    tasks: Nursery

    def __init__(self) -> None:
        self.is_in = False
        self._release_at = 0.0  # in ``time.perf_counter`` seconds: virtual time does not pass while tasks compute
        self._streams: dict[Corked, None] = {}  # each once, in the order in which they came

    def push_in(self) -> None:
        self.is_in = True
        self._release_at = perf_counter() + CORK_SECONDS

    def hold_for_turn(self) -> None:
        """Push it in until the tasks that run in this turn have run, where that can be known."""

    def takes(self, stream: Corked) -> bool:
        """True when ``stream`` shall keep its bytes until it is told to ``uncork``."""
        if not self.is_in:
            return False
        if perf_counter() > self._release_at:
            self.release()
            self.push_in()
        self._streams[stream] = None
        return True

    def release(self) -> None:
        """Send what has collected."""
        streams, self._streams = self._streams, {}
        for stream in streams:
            stream.uncork()

    def pull_out(self) -> None:
        self.is_in = False
        self.release()


class Corkable:
    """The sending side of a stream that may be held back by a cork; what it holds, leaves in order."""

    __slots__ = (
        "_closes", "_cork", "_corked", "_corked_bytes", "_finishes", "_sock", "congested", "lost", "observer",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, cork: Cork) -> None:
        self._sock = sock
        self.lost = False
        self.congested = False
        self.observer: SendObserver | None = None
        self._cork = cork
        self._corked: bytes | Sequence[bytes] = b""
        self._corked_bytes = 0  # when they are many: the kernel might not take them all at once, as it does with few
        self._closes = False  # once what is corked has been sent
        self._finishes = False  # sends our end, once the kernel has taken what is unsent

    def _transmit(self, data: bytes) -> None:
        raise NotImplementedError

    def _keep(self, unsent: memoryview) -> None:
        """The kernel has not taken all: the rest follows as the peer reads."""
        raise NotImplementedError

    def _break(self) -> None:
        """The socket is good for nothing any more."""
        raise NotImplementedError

    @property
    def unsent(self) -> int:
        raise NotImplementedError

    def wire_bytes(self) -> tuple[int, int] | None:
        return tcp_bytes(self._sock)

    def close_nowait(self) -> bool:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError

    def send_nowait(self, data: bytes) -> None:
        if self._corked or len(data) >= AT_ONCE_BYTES or not self._cork.takes(self):
            self.uncork()
            self._transmit(data)
        else:
            self._corked = data
            if len(data) >= GATHER_BYTES:  # over TLS
                self._corked_bytes = len(data)

    def send_pieces_nowait(self, pieces: Sequence[bytes], size: int) -> None:
        if size < GATHER_BYTES:
            self.send_nowait(b"".join(pieces))
        elif self._corked or size >= AT_ONCE_BYTES or not self._cork.takes(self):
            self.uncork()
            self._transmit_pieces(pieces, size)
        else:
            self._corked, self._corked_bytes = pieces, size

    def _transmit_pieces(self, pieces: Sequence[bytes], size: int, flags: int = 0) -> None:
        if self.lost or self.unsent or not can_gather(pieces):
            self._transmit(b"".join(pieces))
            return
        try:
            unsent = send_pieces(self._sock, pieces, size, flags)
        except OSError:
            self._break()
            return
        if unsent:
            self._keep(unsent)

    def defers(self, sender: Corked, *, expects_others: bool) -> bool:
        cork = self._cork
        if expects_others and not cork.is_in:
            cork.hold_for_turn()
        return cork.takes(sender)

    def uncork(self) -> None:
        """Send what waited for the other tasks of the turn."""
        if self._corked:
            corked, self._corked = self._corked, b""
            size, self._corked_bytes = self._corked_bytes, 0
            if isinstance(corked, bytes):
                self._transmit(corked)
            else:
                self._transmit_pieces(corked, size)
            if self._closes and not self.close_nowait():
                self._cork.tasks.start_soon(self._close_patiently)

    async def _close_patiently(self) -> None:
        """Let the peer take the last bytes of a stream that nobody serves any more, if it does so soon."""
        with anyio.move_on_after(CLOSE_SECONDS):
            await self.aclose()

    def _note_congested(self) -> None:
        """Bytes wait from now on; called when everything is ready for them to follow."""
        if not self.congested:
            self.congested = True
            if self.observer is not None:
                self.observer.on_congested()

    def _note_drained(self) -> None:
        """No bytes wait any more. The observer may do anything, even abort the stream: called last."""
        if self.congested:
            self.congested = False
            self._wake_drained()
            if self.observer is not None:
                self.observer.on_drained()

    def _wake_drained(self) -> None:
        """Wake whoever waits in ``drain``."""
        raise NotImplementedError

    def _drop_corked(self) -> None:
        """Nobody will take it."""
        self._corked = b""
        self._corked_bytes = 0


class CorkedNetwork:
    """What the networks of all backends have in common: they own the tasks of their streams."""

    task_per_turn: bool

    def __init__(self, cork: Cork) -> None:
        self._cork = cork
        self._finishes = anyio.Event()
        self._finished = anyio.Event()

    def open_nursery(self) -> AbstractAsyncContextManager[Nursery]:
        raise NotImplementedError

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        try:
            async with self.open_nursery() as self._cork.tasks:
                try:
                    task_status.started()
                    await self._finishes.wait()
                finally:
                    self._cork.pull_out()  # nobody else will send
        finally:
            self._finished.set()  # a cancelled one has ended, too

    async def finish(self) -> None:
        self._finishes.set()
        await self._finished.wait()
