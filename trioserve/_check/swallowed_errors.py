"""Exceptions that a lifespan has caught by a handler for everything, and kept to itself.

Python's tracing shows each exception in every frame that it passes. The outermost frame is the one that has caught it,
and its source says by what.
"""

import ast
import linecache
import sys
from collections.abc import Awaitable
from types import CodeType, FrameType
from typing import Any, Final

from trioserve._trial import Finding, is_own, written

__all__ = ["SwallowedErrors"]

BROAD: Final = ("Exception", "BaseException")
OF_NO_INTEREST: Final = (StopIteration, StopAsyncIteration, GeneratorExit, KeyboardInterrupt)


class SwallowedErrors:
    """An onlooker of ``drive`` that traces while the lifespan runs, and only then."""

    def __init__(self) -> None:
        self._caught: dict[int, tuple[BaseException, CodeType, int]] = {}
        self._before: Any = None

    def on_resume(self, raised: BaseException | None) -> None:
        self._before = sys.gettrace()
        sys.settrace(self._on_call)

    def on_suspend(self) -> None:
        sys.settrace(self._before)

    def hold(self) -> Awaitable[None] | None:
        return None

    def gives_up(self) -> bool:
        return False

    def _on_call(self, frame: FrameType, event: str, arg: Any) -> Any:
        if frame.f_code.co_filename.startswith("<"):
            return None
        frame.f_trace_lines = False
        return self._on_event

    def _on_event(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "exception" and isinstance(arg[1], Exception) and not isinstance(arg[1], OF_NO_INTEREST):
            self._caught[id(arg[1])] = (arg[1], frame.f_code, frame.f_lineno)
        return self._on_event

    def findings(self, ended_with: BaseException | None) -> list[Finding]:
        """For each exception that was caught by ``except Exception`` in the application's own code, and not raised."""
        found = []
        for exc, code, line in self._caught.values():
            if exc is not ended_with and is_own(code) and _is_swallowed(code, line):
                text = f"start-up or shutdown has caught {type(exc).__name__}: {exc}, and gone on"
                finding = Finding("lifespan", text, written((code, line)))
                if finding not in found:
                    found.append(finding)
        return found


def _is_swallowed(code: CodeType, line: int) -> bool:
    """The innermost ``try`` around the line has a broad handler that does not raise."""
    try:
        tree = ast.parse("".join(linecache.getlines(code.co_filename)))
    except SyntaxError:
        return False
    tries = [
        node for node in ast.walk(tree) if isinstance(node, ast.Try)
        and node.body[0].lineno <= line <= (node.body[-1].end_lineno or 0)]
    if not tries:
        return False
    innermost = max(tries, key=lambda node: node.lineno)
    return any(_is_broad(handler) and not _raises(handler) for handler in innermost.handlers)


def _is_broad(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or (isinstance(kind, ast.Name) and kind.id in BROAD) for kind in kinds)


def _raises(handler: ast.ExceptHandler) -> bool:
    return any(isinstance(node, ast.Raise) for statement in handler.body for node in ast.walk(statement))
