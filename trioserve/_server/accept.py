"""The way in: each connection that is accepted becomes a task in the nursery of connections."""

import errno
import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

import anyio
import anyio.lowlevel

from trioserve._complaints import complain
from trioserve._streams import ByteStream, Listener

__all__ = ["Admission"]

log = logging.getLogger("trioserve")

# The system is out of something that other connections will give back: wait, then go on.
EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
EXHAUSTED_SECONDS: Final = 0.1
# The listening socket itself is gone: going on would spin. Everything else concerns the one connection (accept(2)).
FATAL: Final = (errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP, errno.EFAULT)
BURST: Final = 32  # connections accepted in a row before others get a turn


class Admission:
    """Lets connections in, no more at a time than there is room for.

    Args:
        start_connection: begins to serve one.
        room: a slot is taken for each connection, which gives it back at its end; ``None``: there is always room.
        on_full: called when there is no room for the next one.
        shared: other processes accept on the same sockets, and shall have their part of a burst.
    """

    def __init__(
        self, start_connection: Callable[[ByteStream], None], room: anyio.Semaphore | None,
        on_full: Callable[[], None], *, shared: bool,
    ) -> None:  # fmt: skip
        self._start_connection = start_connection
        self._room = room
        self._on_full = on_full
        self._shared = shared
        self._waiting: deque[ByteStream] = deque()  # accepted, and without a slot

    async def accept_from(self, listener: Listener) -> None:
        """A task: accept until cancelled. Raises OSError when the listening socket is gone."""
        burst = 1 if self._shared else BURST
        complained = False
        accepted = 0
        while True:
            await self._wait_for_room()
            try:
                stream = await listener.accept()
            except OSError as exc:
                if exc.errno in FATAL:
                    raise
                if exc.errno in EXHAUSTED:
                    if not complained:
                        complain(log, "Cannot accept connections: %s; trying again every %g s", exc, EXHAUSTED_SECONDS)
                    complained = True
                    await anyio.sleep(EXHAUSTED_SECONDS)
                continue
            await self._admit(stream)
            complained = False
            accepted += 1
            if accepted % burst == 0:
                await anyio.lowlevel.checkpoint()

    def accept_rest(self, listeners: Iterable[Listener]) -> None:
        """Whom the kernel has told that they are connected shall not be reset when the listeners close.

        Those without room are accepted, too, and wait for ``admit_rest``; from shared sockets others accept them.
        """
        for listener in listeners:
            try:
                while (self._has_room or not self._shared) and (stream := listener.accept_nowait()) is not None:
                    self._admit_or_keep(stream)
            except OSError as exc:
                complain(log, "Connections that waited to be accepted are lost: %s", exc, level=logging.WARNING)

    async def admit_rest(self) -> None:
        """Admit those who wait, as others end."""
        while self._waiting:
            await self._wait_for_room()
            self._admit_or_keep(self._waiting.popleft())

    def turn_away(self) -> None:
        """Reset those who still wait: nobody will serve them."""
        if self._waiting:
            complain(log, "limit-connections: %d connections were closed that had waited for their turn",
                     len(self._waiting), level=logging.WARNING)
        while self._waiting:
            self._waiting.popleft().abort()

    @property
    def _has_room(self) -> bool:
        return self._room is None or self._room.value > 0

    async def _wait_for_room(self) -> None:
        """The slot is taken later, because one that waits with its listener would be missed elsewhere."""
        if self._room is not None:
            if not self._has_room:
                self._on_full()
            async with self._room:
                pass

    async def _admit(self, stream: ByteStream) -> None:
        """Waits only when another listener has taken the last slot since there was room."""
        if self._room is not None:
            self._waiting.append(stream)  # should this be cancelled
            await self._room.acquire()
            self._waiting.remove(stream)
        self._start_connection(stream)

    def _admit_or_keep(self, stream: ByteStream) -> None:
        if not self._has_room:
            self._waiting.append(stream)
            return
        if self._room is not None:
            self._room.acquire_nowait()
        self._start_connection(stream)
