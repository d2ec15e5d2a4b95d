"""Calls the application for one request, sees each of its awaits and messages, and strikes at one of them."""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

import anyio

from trioserve._points import AT_AWAITS, Point
from trioserve._trial.driving import drive
from trioserve._trial.findings import Finding
from trioserve._trial.places import place_of_error, steps_of_wait
from trioserve._trial.verdicts import MARK, Met, is_ours, verdict
from trioserve._types import App, Message, Receive, Scope, Send

__all__ = ["Call", "tried"]

PAUSE_SECONDS: Final = 1.0  # that a call is held up, and that a slow client takes for each message
GOES_ON_FOR: Final = 1000  # awaits after it was cancelled; then it will never end by itself
IN_THREADS: Final = ("run_sync", "to_thread_run_sync")
"""Who waits in these functions cannot be held up: while a thread is not done with, virtual time stands still."""

_ABANDONED: Final[list[Coroutine[Any, Any, None]]] = []
"""Calls that nothing could end. As garbage they would refuse to be closed, and Python would say so."""


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
        error: what it raised, without cancellations.
        findings: what is wrong about its end.
        ended: set at its end.
    """

    point: Point | None = None
    strike: Callable[[], None] = lambda: None
    awaits: int = 0
    messages: int = 0
    struck: anyio.Event = field(default_factory=anyio.Event)
    overtaken: anyio.Event = field(default_factory=anyio.Event)
    error: BaseException | None = None
    findings: list[Finding] = field(default_factory=list)
    ended: anyio.Event = field(default_factory=anyio.Event)
    _cancel_scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    _met: list[Met] = field(default_factory=list)
    _coro: Coroutine[Any, Any, None] | None = None
    _awaits_since: int = 0
    _late: bool = False

    async def run(self, app: App, scope: Scope, receive: Receive, send: Send) -> None:
        """Call ``app``. A call that was cancelled by its strike returns, whatever it had sent by then."""

        async def seen_receive() -> Message:
            await self._on_message()
            return await receive()

        async def seen_send(message: Message) -> None:
            await self._on_message()
            await send(message)

        async def call() -> None:
            await app(scope, seen_receive, seen_send)

        ended_with: BaseException | None = None
        self._coro = coro = call()
        try:
            with self._cancel_scope:
                try:
                    await drive(coro, self)
                except BaseException as exc:
                    ended_with = exc
                    raise
        except Exception as exc:
            if not self.gives_up():  # trio notices that scopes of the application's have never been left
                self.error = exc
                raise
        finally:
            self._judge(coro, ended_with)
            ended_with = None  # its traceback knows this frame: a cycle
            self.ended.set()

    def _judge(self, coro: Coroutine[Any, Any, None], ended_with: BaseException | None) -> None:
        if self.gives_up():
            _ABANDONED.append(coro)
            where = place_of_error(self._met[0].exc) if self._met else ""
            text = f"it was cancelled, and went on for {GOES_ON_FOR} awaits: it would never have ended"
            self.findings.append(Finding("swallowed", text, where))
        else:
            self.findings += verdict(self._met, ended_with)
        self._met.clear()
        self._coro = None

    # What is seen of it.

    def on_suspend(self) -> None:
        number = self.awaits
        self.awaits += 1
        if self._cancel_scope.cancel_called:
            self._awaits_since += 1
        if self.point is not None and self.point.kind in AT_AWAITS and self.point.number == number:
            self._strike(self.point)

    def hold(self) -> Awaitable[None] | None:
        late, self._late = self._late, False
        return self._wait_for_others() if late else None

    async def _wait_for_others(self) -> None:
        with anyio.move_on_after(PAUSE_SECONDS, shield=True):  # what the call waited for has come, and must reach it
            await self.overtaken.wait()

    def on_resume(self, raised: BaseException | None) -> None:
        if raised is not None and is_ours(raised):
            self._met.append(Met(raised, steps_of_wait(self._coro)))

    def gives_up(self) -> bool:
        return self._awaits_since > GOES_ON_FOR

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
            self._cancel_scope.cancel(MARK)
        elif point.kind == "pause":
            self._late = not any(code.co_name in IN_THREADS for code, _ in steps_of_wait(self._coro))
        else:
            self.strike()


def tried(app: App, new_call: Callable[[Scope], Call]) -> App:
    """``app``, with each of its calls for a request run as ``new_call`` says; its lifespan is left alone."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
        else:
            await new_call(scope).run(app, scope, receive, send)

    return call
