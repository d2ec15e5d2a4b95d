"""Cancel a connection at its n-th await, for every n there is."""

import itertools
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Final

import anyio
import pytest

from trioserve._connection import Http1Connection

__all__ = ["VICTIM", "at_every_await"]

VICTIM: Final = ("192.0.2.66", 6666)
"""The address of the client whose connection is cancelled."""


class Saboteur:
    """Cancels the scope around a connection when its task suspends for the ``strike_at``-th time, counted from 0."""

    def __init__(self, strike_at: int) -> None:
        self.strike_at = strike_at
        self.suspensions = 0

    async def run(self, coro: Coroutine[Any, Any, None]) -> None:
        with anyio.CancelScope() as cancel_scope:
            await self._drive(coro, cancel_scope)

    @types.coroutine
    def _drive(self, coro: Coroutine[Any, Any, None], cancel_scope: anyio.CancelScope) -> Generator[Any, Any, None]:
        resume: Callable[[Any], Any] = coro.send
        answer: Any = None
        while True:
            try:
                trap = resume(answer)
            except StopIteration:
                return
            if self.suspensions == self.strike_at:
                cancel_scope.cancel()
            self.suspensions += 1
            try:
                answer = yield trap
            except BaseException as exc:  # handed on to the coroutine
                resume, answer = coro.throw, exc
            else:
                resume = coro.send


async def at_every_await(monkeypatch: pytest.MonkeyPatch, scenario: Callable[[], Awaitable[None]]) -> int:
    """Run ``scenario`` with the connection of ``VICTIM`` cancelled at its first, second, ... await.

    Ends with the run in which there was nothing left to cancel; returns the number of runs before it.
    """
    serve = Http1Connection.serve
    for strike_at in itertools.count():
        saboteur = Saboteur(strike_at)

        async def sabotaged(connection: Http1Connection, by: Saboteur = saboteur) -> None:
            await (by.run(serve(connection)) if connection.stream.peer == VICTIM else serve(connection))

        monkeypatch.setattr(Http1Connection, "serve", sabotaged)
        await scenario()
        if saboteur.suspensions <= strike_at:
            return strike_at
    raise AssertionError
