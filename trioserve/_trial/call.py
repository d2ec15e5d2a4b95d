"""Calls the application for one request, sees each of its awaits and messages, and strikes at one of them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import anyio

from trioserve._points import AT_AWAITS, Point
from trioserve._trial.cancelling import Cancellable
from trioserve._trial.deafness import unless_deaf
from trioserve._trial.findings import Finding
from trioserve._trial.lifespan_call import LifespanCall
from trioserve._types import App, Message, Receive, Scope, Send

__all__ = ["Call", "tried"]

PAUSE_SECONDS: Final = 1.0  # that a call is held up, and that a slow client takes for each message
IN_THREADS: Final = ("run_sync", "to_thread_run_sync", "wait_for_thread")
"""Who waits in these functions cannot be held up: while a thread is not done with, virtual time stands still."""


@dataclass(eq=False)
class Call:
    """One call of the application.

    Args:
        point: where it is struck, if it is.
        strike: what happens there, for the kinds ``leave`` and ``shutdown``.

    Attributes:
        awaits, messages: that it has had.
        struck: set when it came to its point.
        overtaken: to be set when others have overtaken a call that pauses; it pauses for a second at most.
        ended: set at its end.
    """

    point: Point | None = None
    strike: Callable[[], None] = lambda: None
    awaits: int = 0
    messages: int = 0
    struck: anyio.Event = field(default_factory=anyio.Event)
    overtaken: anyio.Event = field(default_factory=anyio.Event)
    ended: anyio.Event = field(default_factory=anyio.Event)
    _running: Cancellable = field(default_factory=Cancellable)
    _late: bool = False

    @property
    def error(self) -> BaseException | None:
        """What it raised, without cancellations."""
        return self._running.error

    @property
    def findings(self) -> list[Finding]:
        """What is wrong about its end."""
        return self._running.findings

    async def run(self, app: App, scope: Scope, receive: Receive, send: Send) -> None:
        """Call ``app``. A call that was cancelled by its strike returns, whatever it had sent by then."""

        async def seen_receive() -> Message:
            await self._on_message()
            return await receive()

        async def seen_send(message: Message) -> None:
            await self._on_message()
            await send(message)

        async def call() -> None:
            await app(scope, unless_deaf(seen_receive, self.findings.append), seen_send)

        try:
            await self._running.run(call(), self)
        finally:
            self.ended.set()

    # What is seen of it.

    def on_suspend(self) -> None:
        number = self.awaits
        self.awaits += 1
        self._running.on_suspend()
        if self.point is not None and self.point.kind in AT_AWAITS and self.point.number == number:
            self._strike(self.point)

    def hold(self) -> Awaitable[None] | None:
        late, self._late = self._late, False
        return self._wait_for_others() if late else None

    async def _wait_for_others(self) -> None:
        with anyio.move_on_after(PAUSE_SECONDS, shield=True):  # what the call waited for has come, and must reach it
            await self.overtaken.wait()

    def on_resume(self, raised: BaseException | None) -> None:
        self._running.on_resume(raised)

    def gives_up(self) -> bool:
        return self._running.gives_up()

    async def _on_message(self) -> None:
        number = self.messages
        self.messages += 1
        if self.point is None:
            return
        if self.point.kind == "leave" and self.point.number == number:
            self._strike(self.point)
        elif self.point.kind == "slow" and self.point.number <= number:
            self.struck.set()
            await anyio.sleep(PAUSE_SECONDS)

    def _strike(self, point: Point) -> None:
        self.struck.set()
        if point.kind == "cancel":
            self._running.cancel()
        elif point.kind == "pause":
            self._late = not any(code.co_name in IN_THREADS for code, _ in self._running.stands_at)
        else:
            self.strike()


def tried(app: App, new_call: Callable[[Scope], Call], lifespan: LifespanCall | None = None) -> App:
    """``app``, with each of its calls for a request run as ``new_call`` says, and its lifespan by ``lifespan``."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await new_call(scope).run(app, scope, receive, send)
        elif lifespan is not None:
            await lifespan.run(app, scope, receive, send)
        else:
            await app(scope, receive, send)

    return call
