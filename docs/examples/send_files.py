"""A file by its path, one that is open, and how middleware gets files as ordinary body messages.

    trioserve --app-dir docs/examples send_files:app
"""

from typing import Any

import anyio


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    if "http.response.pathsend" not in scope["extensions"]:
        await send({"type": "http.response.body", "body": await anyio.Path(__file__).read_bytes()})
    elif scope["path"] == "/":
        await send({"type": "http.response.pathsend", "path": __file__})
    else:  # all but the first line
        async with await anyio.open_file(__file__, "rb") as file:
            await file.readline()
            await send({"type": "http.response.zerocopysend", "file": file})


class WithoutPathsend:
    """Around middleware that changes bodies: it lets all files pass through it as ``http.response.body``."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope.get("extensions", {}).pop("http.response.pathsend", None)
        await self.app(scope, receive, send)
