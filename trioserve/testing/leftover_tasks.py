"""What a server has left in the event loop when it has ended: tasks, and complaints of Python's."""

import re
from collections.abc import Coroutine
from typing import Any, Final, cast

import anyio
import anyio.lowlevel

from trioserve._connection import await_point
from trioserve._trial import Finding, overhear, seen_from_here
from trioserve.testing.virtual_time import clock_is_virtual, settled

__all__ = ["nothing_left"]

NUMBERED: Final = re.compile(r"Task-\d+")  # the name that asyncio gives
YIELDS: Final = 10  # turns of a real event loop, after which what is about to end has ended


class nothing_left:  # reads as a phrase: async with nothing_left() as findings
    """Its findings are there when the block has ended; tasks that were there before it are not among them."""

    async def __aenter__(self) -> list[Finding]:
        self._before = {task.id for task in anyio.get_running_tasks()}
        self._findings: list[Finding] = []
        self._overhearing = overhear()
        self._overheard = self._overhearing.__enter__()
        return self._findings

    async def __aexit__(self, *exc_info: Any) -> None:
        await _rest()
        for task in anyio.get_running_tasks():
            if task.id not in self._before:
                where = seen_from_here(await_point(cast("Coroutine[Any, Any, None]", task.coro)))
                name = "a task" if NUMBERED.fullmatch(str(task.name)) else f"the task {task.name}"
                self._findings.append(Finding("left-behind", f"{name} outlives the server", where))
        self._overhearing.__exit__(None, None, None)
        self._findings += self._overheard.findings


async def _rest() -> None:
    """Let whatever is about to end come to its end."""
    if clock_is_virtual():
        await settled()
        return
    for _ in range(YIELDS):
        await anyio.lowlevel.checkpoint()
