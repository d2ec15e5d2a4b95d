"""What a server has left in the event loop when it has ended: tasks, and complaints of Python's."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio
import anyio.lowlevel

from trioserve._connection import await_point
from trioserve._trial import Finding, overhear, seen_from_here
from trioserve.testing.virtual_time import clock_is_virtual, settled

__all__ = ["nothing_left"]

NUMBERED: Final = re.compile(r"Task-\d+")  # the name that asyncio gives
YIELDS: Final = 10  # turns of a real event loop, after which what is about to end has ended


@asynccontextmanager
async def nothing_left() -> AsyncIterator[list[Finding]]:
    """What the block has left is in the list when it has ended: ``async with nothing_left() as findings: ...``."""
    findings: list[Finding] = []
    before = {task.id for task in anyio.get_running_tasks()}
    with overhear() as overheard:
        yield findings
        await _rest()
        findings += [_left(task) for task in anyio.get_running_tasks() if task.id not in before]
    findings += overheard.findings


def _left(task: anyio.TaskInfo) -> Finding:
    name = "a task" if NUMBERED.fullmatch(str(task.name)) else f"the task {task.name}"
    return Finding("left-behind", f"{name} outlives the server", seen_from_here(await_point(task.coro)))


async def _rest() -> None:
    """Let whatever is about to end come to its end."""
    if clock_is_virtual():
        await settled()
        return
    for _ in range(YIELDS):
        await anyio.lowlevel.checkpoint()
