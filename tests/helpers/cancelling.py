"""Cancel a connection at its n-th await, for every n there is, and look whether anything of it is left."""

import itertools
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from typing import Any, Final

import anyio
import pytest

from tests.helpers.serving import Site
from trioserve._connection import Connection
from trioserve._connection.http1 import Http1Connection
from trioserve._streams import ByteStream, Cancellable, CancellableNursery, TaskFunction
from trioserve._streams.memory import MemoryClient
from trioserve._types import Receive, Scope, Send

__all__ = ["VICTIM", "Application", "at_every_await", "has_ended"]

VICTIM: Final = ("192.0.2.66", 6666)
"""The address of the client whose connection is cancelled."""


class Application:
    """Calls the method that the path names, and counts who is inside it."""

    def __init__(self) -> None:
        self.inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.inside += 1
        try:
            await getattr(self, scope["path"][1:])(receive, send)
        finally:
            self.inside -= 1


async def has_ended(site: Site, app: Application, client: MemoryClient) -> None:
    """Assert that nothing is left of the connection of ``client``, which has been cancelled."""
    await client.receive_rest()
    await anyio.sleep(10)
    assert site.connections == 0
    assert app.inside == 0
    client.send_nowait(b"x")
    assert client.lost  # there is nobody to take it: the server's end is closed


class Saboteur:
    """Cancels a connection when its tasks suspend for the ``strike_at``-th time, counted from 0.

    All tasks count together: the one that opens the stream, those that hold the connection one after the other, and
    those beside them.
    """

    def __init__(self, strike_at: int) -> None:
        self.strike_at = strike_at
        self.suspensions = 0
        self._driven: set[int] = set()  # tasks

    async def run(self, stream: ByteStream, coro: Coroutine[Any, Any, None], cancel: Callable[[], None]) -> None:
        """Await ``coro``, which is a task of the connection or a part of one."""
        task = anyio.get_current_task().id
        if stream.peer != VICTIM or task in self._driven:
            await coro
            return
        self._driven.add(task)
        try:
            await self._drive(coro, cancel)
        finally:
            self._driven.remove(task)

    @types.coroutine
    def _drive(self, coro: Coroutine[Any, Any, None], cancel: Callable[[], None]) -> Generator[Any, Any, None]:
        resume: Callable[[Any], Any] = coro.send
        answer: Any = None
        while True:
            try:
                trap = resume(answer)
            except StopIteration:
                return
            if self.suspensions == self.strike_at:
                cancel()
            self.suspensions += 1
            try:
                answer = yield trap
            except BaseException as exc:  # handed on to the coroutine
                resume, answer = coro.throw, exc
            else:
                resume = coro.send


async def at_every_await(
    monkeypatch: pytest.MonkeyPatch, scenario: Callable[[], Awaitable[None]], *, at_deadline: bool = False
) -> int:
    """Run ``scenario`` with the connection of ``VICTIM`` cancelled at its first, second, ... await.

    It is cancelled as a nursery around it would do it, or, ``at_deadline``, as a server that waits no longer does.

    Ends with the run in which there was nothing left to cancel; returns the number of runs before it.
    """

    def cancel_of(connection: Http1Connection) -> Callable[[], None]:
        return partial(connection.cancel_all, "test") if at_deadline else connection._nursery.cancel

    serve, hold, start_child = Connection._serve, Http1Connection.hold, Http1Connection.start_child
    for strike_at in itertools.count():
        saboteur = Saboteur(strike_at)

        async def open_sabotaged(of: Connection, nursery: CancellableNursery, by: Saboteur = saboteur) -> None:
            cancel = partial(of.cancel, "test") if at_deadline else nursery.cancel
            await by.run(of._stream, serve(of, nursery), cancel)

        async def hold_sabotaged(of: Http1Connection, by: Saboteur = saboteur) -> None:
            await by.run(of.stream, hold(of), cancel_of(of))

        def start_sabotaged(
            of: Http1Connection, function: TaskFunction, *args: object, by: Saboteur = saboteur
        ) -> Cancellable:
            async def child() -> None:
                await by.run(of.stream, function(*args), cancel_of(of))

            return start_child(of, child)

        monkeypatch.setattr(Connection, "_serve", open_sabotaged)
        monkeypatch.setattr(Http1Connection, "hold", hold_sabotaged)
        monkeypatch.setattr(Http1Connection, "start_child", start_sabotaged)
        await scenario()
        if saboteur.suspensions <= strike_at:
            return strike_at
    raise AssertionError
