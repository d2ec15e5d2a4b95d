"""What runs behind the proxies of the deployment guides: the probe, where requests came from, and a health check."""

import os
from typing import Any

import origin  # type: ignore[import-not-found]
import probe  # type: ignore[import-not-found]


async def app(scope: Any, receive: Any, send: Any) -> None:
    async def send_signed(message: Any) -> None:
        """Each answer says which process gave it."""
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"x-instance", b"%d" % os.getpid())]}
        await send(message)

    if scope["type"] != "http":
        await probe.app(scope, receive, send)
    elif scope["path"] == "/health":
        await send_signed({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
    elif scope["path"] == "/origin":
        await origin.app(scope, receive, send_signed)
    else:
        await probe.app(scope, receive, send_signed)
