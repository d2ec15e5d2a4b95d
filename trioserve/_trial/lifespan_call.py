"""One lifespan of the application under observation: cancelled while it starts up, or while it cleans up."""

from collections.abc import Awaitable

from trioserve._points import LifespanKind, Point
from trioserve._trial.cancelling import Cancellable
from trioserve._trial.findings import Finding
from trioserve._types import App, Message, Receive, Scope, Send

__all__ = ["LifespanCall"]


class LifespanCall:
    """Runs the lifespan, which is struck at ``point``, if there is one.

    It is never struck while the server serves: then nobody cancels it.

    Attributes:
        awaits: that its start-up and its clean-up have had.
        was_struck: it has come to its point.
    """

    def __init__(self, point: Point | None = None) -> None:
        self.awaits: dict[LifespanKind, int] = {"startup": 0, "cleanup": 0}
        self.was_struck = False
        self._point = point
        self._phase: LifespanKind | None = "startup"  # ``None`` while the server serves
        self._running = Cancellable()

    @property
    def findings(self) -> list[Finding]:
        """What is wrong about its end."""
        return self._running.findings

    async def run(self, app: App, scope: Scope, receive: Receive, send: Send) -> None:
        """Call ``app``. When it was struck, this returns, whatever the application had said by then."""

        async def seen_receive() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self._phase = "cleanup"
            return message

        async def seen_send(message: Message) -> None:
            await send(message)
            if message["type"].startswith("lifespan.startup."):
                self._phase = None

        async def call() -> None:
            await app(scope, seen_receive, seen_send)

        await self._running.run(call(), self)

    # What is seen of it.

    def on_suspend(self) -> None:
        self._running.on_suspend()
        if self._phase is None:
            return
        number = self.awaits[self._phase]
        self.awaits[self._phase] += 1
        if self._point == Point(self._phase, number):
            self.was_struck = True
            self._running.cancel()

    def hold(self) -> Awaitable[None] | None:
        return None

    def on_resume(self, raised: BaseException | None) -> None:
        self._running.on_resume(raised)

    def gives_up(self) -> bool:
        return self._running.gives_up()
