"""Threads of the server's own: no end of the process waits for them, and none is taken for the application's."""

from collections.abc import Callable
from threading import Thread
from typing import Final

__all__ = ["OURS", "start_thread"]

OURS: Final = "trioserve"  # their name


def start_thread(function: Callable[..., object], *args: object) -> Thread:
    """Run ``function`` in a thread."""
    thread = Thread(target=function, args=args, name=OURS, daemon=True)
    thread.start()
    return thread
