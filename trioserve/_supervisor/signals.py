"""Signals become calls: the first SIGINT or SIGTERM asks for a graceful shutdown, each later one forces it.

A server with certificate files reads them again at SIGHUP. One without ends, as programs do when their terminal closes.

Installed by the command line and ``run()`` only. ``serve()`` is a function in somebody's program, and that program's
signals are its own.
"""

import logging
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final, Protocol

import anyio
import anyio.abc

__all__ = ["Stoppable", "ctrl_c_interrupts", "obey_signals"]

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

log = logging.getLogger("trioserve")


class Stoppable(Protocol):
    """What signals can ask of a server."""

    @property
    def has_certificate_files(self) -> bool: ...

    def reload_certificates(self) -> None: ...

    def request_shutdown(self, reason: str) -> None: ...

    def force_shutdown(self) -> None: ...


async def obey_signals(
    server: Stoppable, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Pass signals on to ``server`` until cancelled. "Started" means that from now on none is missed."""
    obeyed = list(STOP_SIGNALS)
    if server.has_certificate_files and hasattr(signal, "SIGHUP"):  # not on Windows
        obeyed.append(signal.SIGHUP)
    with ExitStack() as installed:
        try:
            received = installed.enter_context(anyio.open_signal_receiver(*obeyed))
        except NotImplementedError:
            # asyncio on Windows has no signal handlers. Ctrl-C cancels its main task there, and a server that is
            # cancelled stops gracefully.
            task_status.started()
            return
        task_status.started()
        first = True
        async for number in received:
            name = signal.Signals(number).name
            if number not in STOP_SIGNALS:
                server.reload_certificates()
            elif first:
                server.request_shutdown(name)
                first = False
            else:
                log.warning("%s again: requests in progress are not waited for any longer", name)
                server.force_shutdown()


@contextmanager
def ctrl_c_interrupts() -> Iterator[None]:
    """Within the block Ctrl-C raises KeyboardInterrupt at once, also where an event loop has other plans for it.

    asyncio answers it by cancelling the main task, which code that never awaits, such as an import, does not notice.
    Only for the main thread. Where Ctrl-C is ignored, as in a shell's background jobs, it stays so.
    """
    previous = signal.getsignal(signal.SIGINT)
    if not callable(previous):
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
