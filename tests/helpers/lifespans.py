"""Applications with a lifespan, good ones and others (ASGI lifespan 2.0)."""

from collections.abc import Awaitable, Callable

import anyio

from tests.helpers.apps import hello
from trioserve._types import App, Message, Receive, Scope, Send

__all__ = [
    "COMPLETE", "STOPPED", "LifespanApp", "LifespanFunction", "fails", "fails_and_raises", "fails_and_waits",
    "raises_before_receive", "supported", "with_lifespan",
]

LifespanFunction = Callable[[Receive, Send], Awaitable[None]]

COMPLETE: Message = {"type": "lifespan.startup.complete"}
STOPPED: Message = {"type": "lifespan.shutdown.complete"}


class LifespanApp:
    """An application that notes what happens in ``events``; its lifespan dies when ``die`` is set."""

    def __init__(self, app: App = hello, *, startup_seconds: float = 0, shutdown_seconds: float = 0) -> None:
        self.app = app
        self.events: list[str] = []
        self.startup_seconds = startup_seconds
        self.shutdown_seconds = shutdown_seconds
        self.die = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.lifespan(scope, receive, send)
        self.events.append(f"request {scope['path']}")
        try:
            await self.app(scope, receive, send)
            self.events.append(f"end of {scope['path']}")
        except anyio.get_cancelled_exc_class():
            self.events.append(f"{scope['path']} cancelled")
            raise

    async def lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "lifespan.startup"
        self.events.append("startup")
        await anyio.sleep(self.startup_seconds)
        scope["state"]["of"] = "lifespan"
        self.events.append("started")
        await send(COMPLETE)
        try:
            async with anyio.create_task_group() as dying:
                dying.start_soon(self.wait_to_die)
                assert (await receive())["type"] == "lifespan.shutdown"
                self.events.append("shutdown")
                dying.cancel_scope.cancel()
            await anyio.sleep(self.shutdown_seconds)
            self.events.append("stopped")
            await send(STOPPED)
        except anyio.get_cancelled_exc_class():
            self.events.append("lifespan cancelled")
            raise

    async def wait_to_die(self) -> None:
        await self.die.wait()
        raise RuntimeError("the lifespan died")


def with_lifespan(lifespan: LifespanFunction) -> App:
    """An application that answers hello and has this lifespan."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (lifespan(receive, send) if scope["type"] == "lifespan" else hello(scope, receive, send))

    return app


async def supported(receive: Receive, send: Send) -> None:
    await receive()
    await send(COMPLETE)
    await receive()
    await send(STOPPED)


async def raises_before_receive(receive: Receive, send: Send) -> None:
    raise AssertionError("only http here")


async def fails(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


async def fails_and_raises(receive: Receive, send: Send) -> None:
    await fails(receive, send)
    raise SystemError("as Starlette does")


async def fails_and_waits(receive: Receive, send: Send) -> None:
    await fails(receive, send)
    await receive()  # as Quart does
