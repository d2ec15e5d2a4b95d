"""Which files belong to Python and to installed packages, and not to the program itself."""

import os
import sysconfig
from typing import Final

__all__ = ["is_installed"]

_PLACES: Final = tuple(
    os.path.join(os.path.realpath(sysconfig.get_path(name)), "")
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
)


def is_installed(filename: str) -> bool:
    """``filename`` is that of a code object."""
    return filename.startswith("<frozen ") or os.path.realpath(filename).startswith(_PLACES)
