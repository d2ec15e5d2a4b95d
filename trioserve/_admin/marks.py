"""A mark in the context of each call of the application, which the tasks that it starts inherit.

On asyncio nothing else tells for whom a task was started (PEP 567: a task runs in a copy of its starter's context).
"""

from contextvars import ContextVar
from typing import Final

from trioserve._types import App, Receive, Scope, Send

__all__ = ["MARK", "Mark", "marking"]


class Mark:
    """One call of the application.

    Attributes:
        is_lifespan: it is the one that lasts as long as the server.
    """

    __slots__ = ("_method", "_path", "is_lifespan")

    def __init__(self, scope: Scope) -> None:
        self.is_lifespan = scope["type"] == "lifespan"
        self._method: str = scope.get("method", "GET")  # which the handshake of a WebSocket is
        self._path: str = scope.get("path", "")

    @property
    def line(self) -> str:
        """What was asked for."""
        return f"{self._method} {self._path}"


MARK: Final[ContextVar[Mark | None]] = ContextVar("trioserve_mark", default=None)


def marking(app: App) -> App:
    """``app``, each call of which has a mark of its own."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        MARK.set(Mark(scope))
        await app(scope, receive, send)

    return call
