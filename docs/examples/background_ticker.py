"""A background task without an end of its own: it begins with the application, and ends with the server.

    trioserve --app-dir docs/examples background_ticker:app
"""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        extensions = scope["extensions"]
        extensions["trioserve.tasks"]["start"](tick_until, extensions["trioserve.shutdown"]["wait"])
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    else:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ticking\n"})


async def tick() -> None:
    while True:
        print("tick", flush=True)
        await anyio.sleep(60)


async def tick_until(wait: Callable[[], Awaitable[None]]) -> None:
    async with anyio.create_task_group() as nursery:
        nursery.start_soon(tick)
        await wait()
        nursery.cancel_scope.cancel()
