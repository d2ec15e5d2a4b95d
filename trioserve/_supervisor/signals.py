"""Signals become calls: the first SIGINT or SIGTERM asks for a graceful shutdown, each later one forces it.

One order may arrive as several signals: what runs the server passes on what the terminal has sent to all, and
``timeout`` sends SIGTERM to its child and then to the whole group.

At SIGHUP a single process reads its certificate files again, or stops if it has none; a supervisor replaces its
workers.

Installed by the command line, ``run()`` and worker processes only. ``serve()`` is a function in somebody's program,
and that program's signals are its own.
"""

import logging
import math
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import MappingProxyType
from typing import Final, Protocol

import anyio
import anyio.abc

from trioserve._complaints import complain
from trioserve._server import SETTLE_SECONDS
from trioserve._streams import open_signal_receiver
from trioserve._supervisor.forks import Handler, Substitute, forget_in_forks, restore_in_forks, substituted

__all__ = [
    "ECHO_SECONDS", "INTERRUPTED", "NO_OTHERS", "STOP_SIGNALS", "USER_SIGNALS", "EarlySignal", "Stoppable", "deaf_to",
    "heard_during_import", "held_back", "how_to_stop", "is_free", "obey_signals", "survived",
]

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
ECHO_SECONDS: Final = 0.1  # within them a signal is the last one once more; nobody decides anew so fast
if sys.platform == "win32":
    USER_SIGNALS: Final[tuple[signal.Signals, ...]] = ()
else:
    USER_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)
SIGNALLED: Final = 128  # plus the number: a shell's exit code for a process that a signal has ended
INTERRUPTED: Final = SIGNALLED + signal.SIGINT  # Ctrl-C
NO_OTHERS: Final[Mapping[signal.Signals, Callable[[], None]]] = MappingProxyType({})

log = logging.getLogger("trioserve")


class Stoppable(Protocol):
    """What signals can ask of a server."""

    def request_shutdown(self, reason: str, *, settle: float = 0.0) -> None: ...

    def force_shutdown(self) -> None: ...


async def obey_signals(
    server: Stoppable,
    stop_signals: Iterable[signal.Signals] = STOP_SIGNALS,
    others: Mapping[signal.Signals, Callable[[], None]] = NO_OTHERS,
    *,
    afterwards: Handler = None,
    task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Pass signals on to ``server`` until cancelled. "Started" means that from now on none is missed.

    ``others`` are signals that call something and stop nothing. Afterwards each signal has the handler that it had
    before. Where the process is about to end, ``afterwards`` takes the place of those of SIGINT and SIGTERM, and the
    others do nothing.
    """
    numbers = (*stop_signals, *others)
    orders = _Orders()
    with ExitStack() as installed:
        try:
            received = installed.enter_context(_received(numbers, orders.heard_by(afterwards)))
        except NotImplementedError:
            # asyncio on Windows has no signal handlers. Ctrl-C cancels its main task there, and a server that is
            # cancelled stops gracefully.
            task_status.started()
            return
        task_status.started()
        first = True
        async for number in received:
            name = signal.Signals(number).name
            if number in others:
                others[number]()
            elif not orders.is_new():
                continue
            elif first:
                # A person who presses Ctrl-C waits for the prompt; nobody waits for another signal.
                server.request_shutdown(name, settle=0.0 if number == signal.SIGINT else SETTLE_SECONDS)
                first = False
            elif number in STOP_SIGNALS:  # a terminal that closes may send SIGHUP more than once
                complain(
                    log, "%s again: requests in progress are not waited for any longer", name, level=logging.WARNING)
                server.force_shutdown()


class _Orders:
    """Tells an order from its echoes."""

    def __init__(self) -> None:
        self._last = -math.inf  # when one was given, by time.monotonic()

    def is_new(self) -> bool:
        """A signal to stop has just arrived: it is one more order."""
        now = time.monotonic()
        is_new = now - self._last >= ECHO_SECONDS
        if is_new:
            self._last = now
        return is_new

    def heard_by(self, handler: Handler) -> Handler:
        """``handler``, which is a function, if any, for new orders only."""
        if not callable(handler):
            return handler
        return lambda number, frame: handler(number, frame) if self.is_new() else None


@contextmanager
def _received(numbers: tuple[signal.Signals, ...], afterwards: Handler) -> "Iterator[AsyncIterator[signal.Signals]]":
    before = {number: signal.getsignal(number) for number in numbers}
    restored = restore_in_forks(before)
    if afterwards is not None:
        before = {number: _last_handler(number, handler, afterwards) for number, handler in before.items()}
    with ExitStack() as held:
        try:
            with open_signal_receiver(*numbers) as received:
                try:
                    yield received
                finally:
                    held.enter_context(held_back(numbers))  # asyncio leaves the default behind for a moment
        finally:
            for number, handler in before.items():
                if handler is not None:  # the handler is one of Python's
                    signal.signal(number, handler)
            if afterwards is None:
                forget_in_forks(restored)


def _last_handler(number: signal.Signals, handler: Handler, afterwards: Handler) -> Handler:
    """Of a process that is about to end."""
    if number in STOP_SIGNALS:
        return afterwards
    return handler if isinstance(handler, Substitute) else _do_nothing


@contextmanager
def held_back(numbers: Iterable[signal.Signals]) -> Iterator[None]:
    """Signals that arrive in the block take effect after it; child processes hold them back until they say so."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def deaf_to(numbers: Iterable[signal.Signals]) -> None:
    """From now on these signals do nothing. Unlike ignored ones, they do what they usually do in a child process."""
    restore_in_forks({number: signal.getsignal(number) for number in numbers})
    for number in numbers:
        signal.signal(number, _do_nothing)


class EarlySignal:
    """A handler for a signal that comes too early to be obeyed."""

    def __init__(self) -> None:
        self._number: int | None = None

    def __call__(self, number: int, frame: object) -> None:
        self._number = number

    def repeat(self) -> None:
        """Now there is somebody who obeys."""
        if self._number is not None:
            signal.raise_signal(self._number)


def how_to_stop() -> str:
    """What a person at the terminal can do; empty where nobody can press Ctrl-C."""
    return "press Ctrl-C to stop" if sys.stderr is not None and sys.stderr.isatty() else ""


def _do_nothing(number: int, frame: object) -> None:
    """A signal handler."""


def is_free(number: signal.Signals) -> bool:
    """Nobody has a use for it, but for us."""
    handler = signal.getsignal(number)
    return handler is signal.SIG_DFL or isinstance(handler, Substitute)


class _Survivor(Substitute):
    """Leaves a line."""

    def __call__(self, number: int, frame: object) -> None:
        complain(log, "%s means nothing to this process", signal.Signals(number).name, level=logging.WARNING)


@contextmanager
def survived(numbers: Iterable[signal.Signals]) -> Iterator[None]:
    """Within the block these signals leave a line in the log, where they would end the process.

    Only for the main thread. A signal that somebody hears already is left alone, and the application may take any.
    """
    with substituted(numbers, _Survivor()):
        yield


class _Ender(Substitute):
    """Ends the process, as the default would."""

    def __call__(self, number: int, frame: object) -> None:
        sys.exit(SIGNALLED + number)


@contextmanager
def heard_during_import() -> Iterator[None]:
    """Within the block SIGINT and SIGTERM end what runs, which never awaits. Only for the main thread.

    The kernel keeps a signal with its default from the first process of a container: nothing would end it there.
    """
    with substituted([signal.SIGTERM] if os.getpid() == 1 else [], _Ender()), _ctrl_c_interrupts():
        yield


@contextmanager
def _ctrl_c_interrupts() -> Iterator[None]:
    """Within the block Ctrl-C raises KeyboardInterrupt, also in a worker, which does not listen to it otherwise.

    Where Ctrl-C is ignored, as in a shell's background jobs, it stays so.
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
