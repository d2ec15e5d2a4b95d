"""A retry that takes cancellation for a failure."""

from typing import Any

import anyio


async def ask_the_warehouse() -> bytes:
    await anyio.sleep(0.1)
    return b"3 hats\n"


async def stubborn() -> bytes:
    for _ in range(3):
        try:
            return await ask_the_warehouse()
        except BaseException:  # cancellation is one
            continue
    return b"unknown\n"


async def patient() -> bytes:
    for _ in range(3):
        try:
            return await ask_the_warehouse()
        except Exception:
            continue
    return b"unknown\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    body = await stubborn()
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": body})


async def mended(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    body = await patient()
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": body})
