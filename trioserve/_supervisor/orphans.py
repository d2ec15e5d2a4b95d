"""Process 1, as in a container: processes whose parent has ended become its children, and it alone can wait for them.

A browser that an application drives, for example, leaves such processes. Each keeps its place in the system's table
until somebody has waited for it, and when the table is full no process can start any more.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

import anyio

__all__ = ["is_process_1", "reap_orphans"]

ROUND_SECONDS: Final = 60.0
"""What has ended is left alone for a whole round: whoever has started it here, such as a hook, waits for it sooner."""


def is_process_1() -> bool:
    return os.getpid() == 1


async def reap_orphans(is_worker: Callable[[int], bool]) -> None:
    """A task: wait for children that ended a round ago or longer and are no workers, until cancelled."""
    ended: set[int] = set()
    while True:
        await anyio.sleep(ROUND_SECONDS)
        still_there = {pid for pid in _ended_children() if not is_worker(pid)}
        for pid in still_there & ended:
            _reap(pid)
        ended = still_there - ended


def _ended_children() -> Iterator[int]:
    """Children of this process that have ended, and that nobody has waited for; none where there is no /proc."""
    with suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdecimal() and _is_ended_child(name):
                yield int(name)


def _is_ended_child(pid: str) -> bool:
    """What proc(5) says of it."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            state, parent, *_ = file.read().rpartition(b")")[2].split()  # the name before may contain anything
    except OSError:  # it is gone
        return False
    return state == b"Z" and int(parent) == os.getpid()


def _reap(pid: int) -> None:
    with suppress(ChildProcessError):  # somebody else was faster
        os.waitpid(pid, os.WNOHANG)
