"""Where a task stands: what waits for what, from its outermost coroutine to its innermost, as Python can tell."""

import gc
import sys
from collections.abc import Iterator
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType
from typing import Any, Final

__all__ = ["await_chain", "await_frames", "await_point", "is_machinery", "place_of", "point_of"]

_MACHINERY: Final = frozenset(("trioserve", "anyio", "trio", "asyncio", "uvloop", "outcome"))
_DEMO: Final = "trioserve.demo"  # an application like any other
_BELOW: Final = ("trioserve._connection.", "trioserve._streams.")  # what receive() and send() lead into
_STEPS: Final = ("async_generator_asend", "async_generator_athrow")  # what an asynchronous generator is awaited through


def await_chain(outermost: object) -> Iterator[tuple[object, FrameType | None]]:
    """Coroutines and generators, each with its frame; each of them waits for the one after it.

    It passes through what runs an application inline. What is none of these ends it, whatever attributes it has.
    """
    waiting: Any = outermost
    while True:
        frame: FrameType | None
        if type(waiting).__name__ in _STEPS:
            waiting = next((step for step in gc.get_referents(waiting) if isinstance(step, AsyncGeneratorType)), None)
        if isinstance(waiting, CoroutineType):
            frame, inner = waiting.cr_frame, waiting.cr_await
        elif isinstance(waiting, GeneratorType):
            frame = waiting.gi_frame
            inner = _driven_in(frame) or waiting.gi_yieldfrom
        elif isinstance(waiting, AsyncGeneratorType):
            frame, inner = waiting.ag_frame, waiting.ag_await
        else:
            return
        yield waiting, frame
        waiting = inner


def _driven_in(frame: FrameType | None) -> Any:
    """What a generator of ours runs step by step, without awaiting it: its ``coro``."""
    if frame is None or not frame.f_globals.get("__name__", "").startswith("trioserve."):
        return None
    return frame.f_locals.get("coro")


def await_frames(outermost: object) -> list[FrameType]:
    """The frames of the chain."""
    return [frame for _, frame in await_chain(outermost) if frame is not None]


def await_point(coro: object) -> str:
    """Where a coroutine stands: its innermost await outside the machinery, as ``file:line (function)``.

    It is suspended, or runs and has called, by way of the machinery, who asks. An application may be all machinery,
    such as the adapter of a WSGI application, which waits in a thread, or the admin page: then it is a line of ours.
    """
    if isinstance(coro, CoroutineType) and coro.cr_running and coro.cr_frame is not None:
        return _innermost_call(coro.cr_frame) or place_of(coro.cr_frame)
    frames = await_frames(coro)
    for shown in (point_of, _point_of_ours):
        for frame in reversed(frames):
            if (point := shown(frame)) is not None:
                return point
    if isinstance(coro, (CoroutineType, GeneratorType)):
        return "its end"
    return f"a line of {getattr(coro, '__qualname__', type(coro).__qualname__)} that Python does not tell"


def is_machinery(frame: FrameType) -> bool:
    """It runs code of an event loop or of ours, and not of the application."""
    name: str = frame.f_globals.get("__name__", "")
    return name.partition(".")[0] in _MACHINERY and name != _DEMO


def _innermost_call(outermost: FrameType) -> str | None:
    """The point of the last call outside the machinery that ``outermost``, or what it called, has made."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame is not outermost and point_of(frame) is None:
        frame = frame.f_back
    return point_of(frame)


def point_of(frame: FrameType | None) -> str | None:
    """``place_of`` the frame; ``None`` inside the machinery."""
    return None if frame is None or is_machinery(frame) else place_of(frame)


def _point_of_ours(frame: FrameType) -> str | None:
    """``place_of`` the frame if it runs code of ours that is called as applications are."""
    name: str = frame.f_globals.get("__name__", "")
    return place_of(frame) if name.startswith("trioserve.") and not name.startswith(_BELOW) else None


def place_of(frame: FrameType) -> str:
    """``file:line (function)``."""
    return f"{frame.f_code.co_filename}:{frame.f_lineno} ({frame.f_code.co_qualname})"
