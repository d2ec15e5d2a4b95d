"""Imports of a process that is the server's own, which keeps them until it ends."""

import gc
import sys
from importlib import import_module

__all__ = ["import_for_good"]


def import_for_good(*modules: str) -> None:
    """Import ``modules``, and let the garbage collector look at nothing of what there is by then, now or later.

    Modules, functions and classes are no garbage. To look for it among them, again and again while they are made, is a
    fifteenth of a start. In a process that is not ours this would keep the garbage of others, too.
    """
    if all(name in sys.modules for name in modules):
        return
    collects = gc.isenabled()
    gc.disable()
    try:
        for name in modules:
            import_module(name)
    finally:
        if hasattr(gc, "freeze"):  # PyPy has other ways
            gc.freeze()  # else the next collection would go through all of it
        if collects:
            gc.enable()
