"""Tells where a request came from, as the scope has it."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

KEYS = ("client", "server", "scheme", "root_path", "path")


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    origin = {key: scope[key] for key in KEYS} | {"host": dict(scope["headers"])[b"host"].decode()}
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(origin).encode()})
