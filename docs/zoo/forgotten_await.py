"""A coroutine that was made and not awaited, so nothing of it ever runs."""

from typing import Any

import anyio

log: list[str] = []


async def remember(path: str) -> None:
    await anyio.sleep(0.01)
    log.append(path)


async def answer(send: Any) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"Noted.\n"})


async def app(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    remember(scope["path"])  # type: ignore[unused-coroutine]  # the fault
    await answer(send)


async def mended(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await remember(scope["path"])
    await answer(send)
