"""A pause that stops every other request as well."""

import time
from typing import Any

import anyio.to_thread


def measure() -> None:
    time.sleep(0.2)  # as a driver of a slow device does


async def answer(send: Any) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"21 degrees\n"})


async def app(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    measure()
    await answer(send)


async def mended(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await anyio.to_thread.run_sync(measure)
    await answer(send)
