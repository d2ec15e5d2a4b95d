"""A lock of asyncio's, in an application that is served on trio."""

import asyncio
from typing import Any

import anyio

visits = {"count": 0}


async def count() -> None:
    before = visits["count"]
    await anyio.sleep(0.01)
    visits["count"] = before + 1


async def answer(send: Any) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"Counted.\n"})


async def app(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    async with asyncio.timeout(5):
        await count()
    await answer(send)


async def mended(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    with anyio.fail_after(5):
        await count()
    await answer(send)
