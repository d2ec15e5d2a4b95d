"""Applications that speak WebSocket, each for a test of the server."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel

from tests.helpers.apps import hello
from tests.helpers.ws_client import accept, receive_until_disconnect
from trioserve._types import App, Message, Receive, Scope, Send

__all__ = ["A_MOMENT", "Busy", "WebSocketApp", "app_of", "fail", "idle"]

A_MOMENT = 1.0  # longer than it takes until somebody else reads for an application

WebSocketApp = Callable[[Receive, Send], Awaitable[None]]


def app_of(function: WebSocketApp) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (function(receive, send) if scope["type"] == "websocket" else hello(scope, receive, send))

    return app


class Busy:
    """Accepts, does something else for a time, then receives until the end."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.events: list[Message] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await anyio.sleep(self.seconds)
        self.events += await receive_until_disconnect(receive)

    @property
    def messages(self) -> list[Any]:
        return [event.get("text", event.get("bytes")) for event in self.events[:-1]]

    @property
    def end(self) -> tuple[int, str]:
        assert self.events[-1]["type"] == "websocket.disconnect"
        return self.events[-1]["code"], self.events[-1]["reason"]


async def idle(scope: Scope, receive: Receive, send: Send) -> None:
    """Never receives again."""
    await accept(receive, send)
    await anyio.sleep_forever()


async def fail(receive: Receive, send: Send) -> None:
    raise ValueError("before accept")
