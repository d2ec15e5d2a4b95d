"""Colours of a terminal, and who wants them."""

import os
from typing import Final, TextIO

__all__ = ["BLUE", "BRIGHT_RED", "CYAN", "GREEN", "RED", "YELLOW", "colored", "wants_colors"]

BLUE, CYAN, GREEN, YELLOW, RED, BRIGHT_RED = (f"\x1b[{code}m" for code in (34, 36, 32, 33, 31, 91))
RESET: Final = "\x1b[0m"


def wants_colors(option: bool | None, stream: TextIO | None) -> bool:
    """What the option says; without it NO_COLOR, then FORCE_COLOR, as for Python itself; else colours at a terminal."""
    if option is not None:
        return option
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (stream is not None and stream.isatty())


def colored(text: str, color: str | None, colors: bool) -> str:
    """``text`` in its colour, if there are ``colors`` at all."""
    return f"{color or ''}{text}{RESET}" if colors else text
