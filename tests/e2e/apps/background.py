"""An application with background tasks: one that works for a while, and one that crashes."""

import sys
from typing import Any

import anyio


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    function = {"/work": work, "/crash": crash}.get(scope["path"])
    if function is not None:
        scope["extensions"]["trioserve.tasks"]["start"](function)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def work() -> None:
    await anyio.sleep(0.5)
    print("the work is done", file=sys.stderr, flush=True)


async def crash() -> None:
    raise LookupError("Deliberate: a task")
