"""SIGUSR1: the tree of tasks as lines of the log."""

import logging
import signal
from collections.abc import Callable, Mapping
from typing import Any

from trioserve._complaints import complain
from trioserve._server import Server
from trioserve._supervisor.signals import NO_OTHERS, is_free

__all__ = ["call_at_usr1", "log_tree", "log_tree_of"]

log = logging.getLogger("trioserve")


def call_at_usr1(function: Callable[[], None]) -> Mapping[signal.Signals, Callable[[], None]]:
    """The signal and what it calls; nothing where the application has another use for it, or the system no such signal.

    To be called when the application has been imported.
    """
    number: signal.Signals | None = getattr(signal, "SIGUSR1", None)
    return {number: function} if number is not None and is_free(number) else NO_OTHERS


def log_tree(server: Server) -> None:
    """Of this process."""
    from trioserve._admin.view import EVERYTHING  # somebody asks; nobody else pays for it

    log_tree_of(server.look().snapshot(EVERYTHING))


def log_tree_of(snapshot: Mapping[str, Any]) -> None:
    from trioserve._admin.text import tree_lines

    complain(log, "The tree of tasks:\n%s", "\n".join(tree_lines(snapshot)), level=logging.INFO)
