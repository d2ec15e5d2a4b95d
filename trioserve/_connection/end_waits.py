"""Calls of ``receive`` that wait for the end of their request, on a connection that has one request at a time."""

from collections.abc import Awaitable

import anyio

from trioserve._streams import ByteStream, WaitingTasks

__all__ = ["EndWaits"]


class EndWaits:
    """Those that ``wake`` wakes, or the client when it leaves; see ``WaitingTasks``.

    Quart and Django wait so in each request. Where the stream wakes them itself, no cancel scope is needed.
    """

    __slots__ = ("_scopes", "_stream", "_tasks")

    def __init__(self, stream: ByteStream, tasks: WaitingTasks) -> None:
        self._stream = stream
        self._tasks = tasks
        self._scopes: list[anyio.CancelScope] = []

    def __bool__(self) -> bool:
        return bool(self._tasks or self._scopes)

    def wait(self) -> Awaitable[None]:
        return self._tasks.wait() if self._stream.wakes_at_end(self._tasks) else self._wait_in_scope()

    async def _wait_in_scope(self) -> None:
        with anyio.CancelScope() as scope:
            self._scopes.append(scope)
            try:
                await self._stream.wait_disconnected()
            finally:
                self._scopes.remove(scope)

    def wake(self) -> None:
        self._tasks.wake()
        for scope in self._scopes:
            scope.cancel()
