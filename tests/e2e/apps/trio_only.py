"""An application of somebody who never thought of asyncio."""

from typing import Any

import trio


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise NotImplementedError
    async with trio.open_nursery() as children:
        children.start_soon(trio.sleep, 0)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"on trio"})
