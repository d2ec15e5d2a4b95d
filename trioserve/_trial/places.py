"""Whose code a frame is, and how its place is written. Knows the layout of an installation, and no event loop."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Final, TypeAlias

from trioserve._connection import await_frames
from trioserve._installed import is_installed

__all__ = [
    "Step", "is_own", "is_own_file", "own_place_of_error", "place_of_error", "place_of_frame", "seen_from_here",
    "steps_of_error", "steps_of_wait", "written",
]  # fmt: skip

Step: TypeAlias = tuple[CodeType, int]
"""A function and the line in it where it called, or awaited, the next one."""

_OURS: Final = os.path.join(os.path.realpath(Path(__file__).parents[1]), "")


def is_own(code: CodeType) -> bool:
    """The application's own code."""
    return is_own_file(code.co_filename)


def is_own_file(filename: str) -> bool:
    """That of a code object of the application's own: neither Python's, nor an installed package's, nor ours."""
    return not (filename.startswith("<") or is_installed(filename) or os.path.realpath(filename).startswith(_OURS))


def steps_of_error(exc: BaseException) -> list[Step]:
    """The way that an exception has come, from the outermost function to where it was raised."""
    steps: list[Step] = []
    traceback: TracebackType | None = exc.__traceback__
    while traceback is not None:
        steps.append((traceback.tb_frame.f_code, traceback.tb_lineno))
        traceback = traceback.tb_next
    return steps


def steps_of_wait(coro: object) -> list[Step]:
    """The awaits of a coroutine that is suspended, from the outermost on."""
    return [(frame.f_code, frame.f_lineno) for frame in await_frames(coro)]


def place_of_error(exc: BaseException) -> str:
    """The application's last line before the exception; with none of its own, that of whatever was called."""
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return _innermost(steps_of_error(exc))


def own_place_of_error(exc: BaseException) -> str:
    """The application's last line before the exception, or empty."""
    return _innermost(steps_of_error(exc), or_else=False)


def place_of_frame(frame: FrameType | None) -> str:
    """The same for code that runs."""
    steps: list[Step] = []
    while frame is not None:
        steps.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return _innermost(steps[::-1], or_else=False)


def _innermost(steps: Sequence[Step], *, or_else: bool = True) -> str:
    own: Iterable[Step] = [step for step in steps if is_own(step[0])] or (steps if or_else else ())
    return written([*own][-1]) if own else ""


def written(step: Step) -> str:
    """``file:line (function)``."""
    code, line = step
    return seen_from_here(f"{code.co_filename}:{line} ({code.co_qualname})")


def seen_from_here(place: str) -> str:
    """The same place, with a file below the current directory as it is seen from there."""
    try:
        here = os.getcwd()
    except FileNotFoundError:  # somebody has deleted it
        return place
    return place.removeprefix(os.path.join(here, ""))
