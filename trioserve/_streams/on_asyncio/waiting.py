"""Tasks on asyncio that wait to be woken."""

import asyncio

__all__ = ["AsyncioWaitingTasks", "running_loop"]

running_loop = asyncio.get_running_loop


class AsyncioWaitingTasks:
    """As ``WaitingTasks``. An event of asyncio's would need 1 KiB more for each task."""

    __slots__ = ("_loop", "_waits")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waits: list[asyncio.Future[None]] = []

    def __bool__(self) -> bool:
        return not all(wait.done() for wait in self._waits)

    def wait(self) -> "asyncio.Future[None]":
        wait = self._loop.create_future()
        self._waits = [other for other in self._waits if not other.done()]  # as those that were cancelled are
        self._waits.append(wait)
        return wait

    def wake(self) -> None:
        for wait in self._waits:
            if not wait.done():
                wait.set_result(None)
        self._waits.clear()
