"""Calls of ``receive`` that wait for the end of their request, on a connection that has one request at a time."""

import anyio

from trioserve._streams import ByteStream

__all__ = ["EndWaits"]


class EndWaits:
    """Those that ``wake`` wakes, or the client when it leaves; see ``WaitingTasks``."""

    __slots__ = ("_scopes", "_stream")

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._scopes: list[anyio.CancelScope] = []

    def __bool__(self) -> bool:
        return bool(self._scopes)

    async def wait(self) -> None:
        with anyio.CancelScope() as scope:
            self._scopes.append(scope)
            try:
                await self._stream.wait_disconnected()
            finally:
                self._scopes.remove(scope)

    def wake(self) -> None:
        for scope in self._scopes:
            scope.cancel()
