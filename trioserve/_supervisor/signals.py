"""Signals become calls: the first SIGINT or SIGTERM asks for a graceful shutdown, each later one forces it.

At SIGHUP a single process reads its certificate files again, or stops if it has none; a supervisor replaces its
workers.

Installed by the command line, ``run()`` and worker processes only. ``serve()`` is a function in somebody's program,
and that program's signals are its own.
"""

import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import MappingProxyType
from typing import Final, Protocol

import anyio
import anyio.abc

from trioserve._complaints import complain
from trioserve._server import SETTLE_SECONDS
from trioserve._supervisor.forks import Handler, Substitute, forget_in_forks, restore_in_forks, substituted

__all__ = [
    "NO_OTHERS", "STOP_SIGNALS", "USER_SIGNALS", "Stoppable", "ctrl_c_interrupts", "deaf_to",
    "held_back", "how_to_stop", "is_free", "obey_signals", "survived",
]

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
if sys.platform == "win32":
    USER_SIGNALS: Final[tuple[signal.Signals, ...]] = ()
else:
    USER_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)
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
    with ExitStack() as installed:
        try:
            received = installed.enter_context(_received(numbers, afterwards))
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
            elif first:
                # A person who presses Ctrl-C waits for the prompt; nobody waits for another signal.
                server.request_shutdown(name, settle=0.0 if number == signal.SIGINT else SETTLE_SECONDS)
                first = False
            elif number in STOP_SIGNALS:  # a terminal that closes may send SIGHUP more than once
                complain(
                    log, "%s again: requests in progress are not waited for any longer", name, level=logging.WARNING)
                server.force_shutdown()


@contextmanager
def _received(numbers: tuple[signal.Signals, ...], afterwards: Handler) -> "Iterator[AsyncIterator[signal.Signals]]":
    before = {number: signal.getsignal(number) for number in numbers}
    restored = restore_in_forks(before)
    if afterwards is not None:
        before = {number: _last_handler(number, handler, afterwards) for number, handler in before.items()}
    with ExitStack() as held:
        try:
            with anyio.open_signal_receiver(*numbers) as received:
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
