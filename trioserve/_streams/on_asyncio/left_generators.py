"""Async generators that an application has begun and left: the event loop is told, and closes them."""

import sys
from collections.abc import AsyncGenerator
from types import FunctionType
from typing import Any

__all__ = ["give_finalizer_a_frame"]


def give_finalizer_a_frame() -> None:
    """Call the event loop's finalizer from a function in Python, unless it is one, until the loop ends.

    Python calls it at any time: while a frame is taken down, and up to 3.11 also while one is made. In debug mode
    uvloop wants the stack then. Its finalizer is written in C, so it finds that frame on top, takes it for a whole one,
    and the process crashes (uvloop 0.23). A function in Python is a whole frame on top.
    """
    finalizer = sys.get_asyncgen_hooks().finalizer
    if finalizer is None or isinstance(getattr(finalizer, "__func__", finalizer), FunctionType):
        return

    def finalize(generator: AsyncGenerator[Any, Any]) -> None:
        finalizer(generator)

    sys.set_asyncgen_hooks(finalizer=finalize)
