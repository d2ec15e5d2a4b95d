"""An event loop of the application's own, and an application that says on which one it runs."""

import asyncio
from typing import Any


class Own(asyncio.SelectorEventLoop):
    """Nothing but a name."""


def eager() -> Own:
    """Its tasks begin at once, where Python can do that: from 3.12 on."""
    loop = Own()
    loop.set_task_factory(getattr(asyncio, "eager_task_factory", None))
    return loop


async def app(scope: Any, receive: Any, send: Any) -> None:
    name = type(asyncio.get_running_loop()).__name__.encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(name))]})
    await send({"type": "http.response.body", "body": name})
