"""A reservation that is given back in a finally block, by an await that is cancelled as well."""

from typing import Any

import anyio


class Seats:
    def __init__(self) -> None:
        self.taken = 0

    async def take(self) -> None:
        await anyio.sleep(0.01)
        self.taken += 1

    async def give_back(self) -> None:
        await anyio.sleep(0.01)  # a message to a database
        self.taken -= 1


seats = Seats()


async def answer(send: Any) -> None:
    await anyio.sleep(0.1)
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"Enjoy.\n"})


async def app(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await seats.take()
    try:
        await answer(send)
    finally:
        await seats.give_back()


async def mended(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await seats.take()
    try:
        await answer(send)
    finally:
        with anyio.move_on_after(5, shield=True):
            await seats.give_back()
