"""A limit that forgets to count down when a request is cancelled."""

from typing import Any

import anyio

LIMIT = 2


async def work() -> None:
    await anyio.sleep(0.1)


async def answer(send: Any, status: int) -> None:
    await send({"type": "http.response.start", "status": status})
    await send({"type": "http.response.body"})


class App:
    def __init__(self) -> None:
        self.running = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        if self.running == LIMIT:
            await answer(send, 503)
            return
        self.running += 1
        await work()
        self.running -= 1
        await answer(send, 200)


class Mended(App):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        if self.running == LIMIT:
            await answer(send, 503)
            return
        self.running += 1
        try:
            await work()
        finally:
            self.running -= 1
        await answer(send, 200)


app = App()
mended = Mended()
