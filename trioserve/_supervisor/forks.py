"""Child processes that the application forks hear signals as this process did before its server took them.

A fork inherits what signals do: ``Process.terminate`` of ``multiprocessing`` would not end the child, because a server
hears SIGTERM in a way of its own. On asyncio it would even end the server, because the child inherits the descriptor by
which a signal wakes the event loop. Programs that are started, and not only forked, have neither.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Final, TypeAlias

__all__ = ["Handler", "forget_in_forks", "restore_in_forks"]

Handler: TypeAlias = Callable[[int, FrameType | None], object] | int | None
"""What ``signal.getsignal`` returns."""

_restored: Final[dict[signal.Signals, Handler]] = {}
_forking = threading.local()  # several threads may fork at once, each with a mask of its own


def restore_in_forks(before: Mapping[signal.Signals, Handler]) -> list[signal.Signals]:
    """From now on a forked child has these handlers.

    Signals that are restored already stay as they are; returns the others, for ``forget_in_forks``. A handler that is
    not one of Python's (``None``) is inherited. Ctrl-C raises KeyboardInterrupt in a child where it does anything,
    because the handler that was there before may be an event loop's.
    """
    added = {number: handler for number, handler in before.items() if number not in _restored and handler is not None}
    for number, handler in added.items():
        _restored[number] = signal.default_int_handler if number == signal.SIGINT and callable(handler) else handler
    return list(added)


def forget_in_forks(numbers: list[signal.Signals]) -> None:
    """From now on a forked child inherits what these signals do."""
    for number in numbers:
        del _restored[number]


# A signal that arrives at the child before its handlers are restored has to wait, so it is held back before the fork.
if sys.platform != "win32":  # which does not fork

    def _hold_back() -> None:
        _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _restored)

    def _go_on() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)

    def _restore() -> None:
        if _restored:
            signal.set_wakeup_fd(-1)
        for number, handler in _restored.items():
            signal.signal(number, handler)
        _restored.clear()
        _go_on()

    os.register_at_fork(before=_hold_back, after_in_parent=_go_on, after_in_child=_restore)
