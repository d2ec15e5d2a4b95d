"""A module variable that belongs to whichever request has set it last."""

from contextvars import ContextVar
from typing import Any

import anyio

user_of_all: dict[str, bytes] = {}
user: ContextVar[bytes] = ContextVar("user")


async def look_up_basket() -> None:
    await anyio.sleep(0.01)


async def answer(send: Any, name: bytes) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"The basket of " + name + b"\n"})


async def app(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    user_of_all["name"] = scope["query_string"]
    await look_up_basket()
    await answer(send, user_of_all["name"])


async def mended(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    user.set(scope["query_string"])
    await look_up_basket()
    await answer(send, user.get())
