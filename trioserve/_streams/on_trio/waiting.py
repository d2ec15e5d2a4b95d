"""Tasks on trio that wait to be woken."""

from collections.abc import AsyncGenerator, Generator
from typing import Any, Final, TypeVar

import outcome
import trio
from trio.lowlevel import current_task, reschedule, wait_task_rescheduled

__all__ = ["WOKEN", "TrioWaitingTasks"]

ResultT = TypeVar("ResultT")


class Woken(outcome.Outcome[None]):
    """``outcome.Value(None)`` for any number of tasks: to make and check one each time is 0.6 of 2 us of waking one."""

    def unwrap(self) -> None:
        """Nothing: whoever wakes up looks by itself."""

    def send(self, gen: Generator[ResultT, None, object]) -> ResultT:
        return gen.send(None)

    async def asend(self, agen: AsyncGenerator[ResultT, None]) -> ResultT:
        return await agen.asend(None)


WOKEN: Final = Woken()


class TrioWaitingTasks:
    """As ``WaitingTasks``. An event of trio's would need 1 KiB more for each task."""

    __slots__ = ("_waits",)

    def __init__(self) -> None:
        self._waits: list[_Wait] = []

    def __bool__(self) -> bool:
        return bool(self._waits)

    def wait(self) -> "_Wait":
        return _Wait(self._waits)

    def wake(self) -> None:
        for wait in self._waits:
            reschedule(wait.task, WOKEN)
        self._waits.clear()


class _Wait:
    """Of one task."""

    __slots__ = ("_waits", "task")

    task: trio.lowlevel.Task

    def __init__(self, waits: "list[_Wait]") -> None:
        self._waits = waits

    def __await__(self) -> Generator[Any, Any, None]:
        self.task = current_task()
        self._waits.append(self)
        return wait_task_rescheduled(self._stop).__await__()  # noqa: ASYNC105  # who awaits this one does

    def _stop(self, _: Any) -> trio.lowlevel.Abort:
        self._waits.remove(self)
        return trio.lowlevel.Abort.SUCCEEDED
