"""Work after a response, behind a shield, until somebody asks for ``/release``."""

from typing import Any

import anyio

released = anyio.Event()


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})
    if scope["path"] == "/release":
        released.set()
    with anyio.CancelScope(shield=True):
        await released.wait()
