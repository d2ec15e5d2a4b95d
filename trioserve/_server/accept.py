"""The accept loop: each connection becomes a task in the nursery of connections."""

import errno
import logging
from collections.abc import Callable, Iterable
from typing import Final

import anyio
import anyio.lowlevel

from trioserve._complaints import complain
from trioserve._streams import ByteStream, Listener

__all__ = ["accept_loop", "accept_rest"]

log = logging.getLogger("trioserve")

# The system is out of something that other connections will give back: wait, then go on.
EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
EXHAUSTED_SECONDS: Final = 0.1
# The listening socket itself is gone: going on would spin. Everything else concerns the one connection (accept(2)).
FATAL: Final = (errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP, errno.EFAULT)
BURST: Final = 32  # connections accepted in a row before others get a turn


async def accept_loop(
    listener: Listener,
    start_connection: Callable[[ByteStream], None],
    room: anyio.Semaphore | None,
    on_full: Callable[[], None],
    *,
    shared: bool = False,
) -> None:
    """Accept until cancelled. With ``room``, a slot is taken for each connection, which gives it back at its end.

    ``on_full`` is called when there is no room for the next one. ``shared``: other processes accept on the same
    socket, and shall have their part of a burst.
    """
    burst = 1 if shared else BURST
    complained = False
    accepted = 0
    while True:
        if room is not None:
            if not room.value:
                on_full()
            async with room:
                pass  # there is room; it is taken later, because a slot that waits here would be missed elsewhere
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
        if room is not None:
            await _take_slot(room, stream)
        complained = False
        start_connection(stream)
        accepted += 1
        if accepted % burst == 0:
            await anyio.lowlevel.checkpoint()


async def _take_slot(room: anyio.Semaphore, stream: ByteStream) -> None:
    """Waits only when another listener has taken the last slot since there was room."""
    try:
        await room.acquire()
    except BaseException:
        stream.abort()
        raise


def accept_rest(
    listeners: Iterable[Listener], start_connection: Callable[[ByteStream], None], room: anyio.Semaphore | None
) -> None:
    """Whom the kernel has told that they are connected shall not be reset when the listeners close."""
    for listener in listeners:
        try:
            while (room is None or room.value) and (stream := listener.accept_nowait()) is not None:
                if room is not None:
                    room.acquire_nowait()
                start_connection(stream)
        except OSError as exc:
            complain(log, "Connections that waited to be accepted are lost: %s", exc, level=logging.WARNING)
