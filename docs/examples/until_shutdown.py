"""A stream without an end that ends by itself when the server stops, and a slow request that asks for more time.

    trioserve --app-dir docs/examples until_shutdown:app --timeout-request 60
"""

from typing import Any

import anyio


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    extensions = scope["extensions"]
    async with anyio.create_task_group() as nursery:
        nursery.start_soon(tick, send, extensions.get("trioserve.timeout_request", {}).get("restart"))
        await extensions["trioserve.shutdown"]["wait"]()
        nursery.cancel_scope.cancel()
    await send({"type": "http.response.body", "body": b"event: bye\ndata: the server stops\n\n"})


async def tick(send: Any, ask_for_time: Any) -> None:
    while True:
        await send({"type": "http.response.body", "body": b"data: tick\n\n", "more_body": True})
        if ask_for_time is not None:
            ask_for_time()  # as long as it ticks, nothing hangs
        await anyio.sleep(1)
