"""Where a thread stands, as far as its application is concerned, from its frames."""

import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Final

from trioserve._connection import place_of, point_of
from trioserve._installed import is_installed

__all__ = ["Standstill", "standstill_at"]

STACK_CALLS: Final = 12  # the innermost ones of the application
NOWHERE: Final = "an unknown place"

_EVENT_LOOPS: Final = (  # what runs tasks; outside of it is the program that runs the loop
    ("trio._core._run", "unrolled_run"), ("asyncio.events", "_run"), ("asyncio.base_events", "_run_once"),
    ("asyncio.runners", "run"),
)
_DEBUGGERS: Final = ("bdb", "pdb", "ipdb", "pudb", "pydevd", "_pydevd_bundle", "debugpy")


@dataclass(frozen=True, slots=True)
class Standstill:
    """Attributes:
        place: ``file:line (function)`` of the application's own code, and of the library that it has called.
        function: the same without the line.
        in_debugger: a person looks at the program, which stands for that reason.
        stack: the calls of the application, the innermost last.
    """

    place: str
    function: str
    in_debugger: bool
    stack: traceback.StackSummary


def standstill_at(innermost: FrameType | None) -> Standstill:
    """What ``innermost``, and the frames of its task that have called it, say. No frame is kept."""
    own = library = function = None
    in_debugger = False
    calls: list[tuple[FrameType, int]] = []
    for frame in _calls_of_task(innermost):
        in_debugger = in_debugger or frame.f_globals.get("__name__", "").partition(".")[0] in _DEBUGGERS
        point = point_of(frame)
        if point is None:
            continue
        calls.append((frame, frame.f_lineno))
        is_library = is_installed(frame.f_code.co_filename)
        if own is None and not is_library:
            own, function = point, _function_of(frame)
        library = library or point
    place = own or library or (place_of(innermost) if innermost is not None else NOWHERE)
    if own is not None and library != own:
        place += f", in {library}"
    stack = traceback.StackSummary.extract(iter(reversed(calls[:STACK_CALLS])), lookup_lines=False)
    return Standstill(place, function or place, in_debugger, stack)


def _calls_of_task(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None and (frame.f_globals.get("__name__"), frame.f_code.co_name) not in _EVENT_LOOPS:
        yield frame
        frame = frame.f_back


def _function_of(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename} ({frame.f_code.co_qualname})"

