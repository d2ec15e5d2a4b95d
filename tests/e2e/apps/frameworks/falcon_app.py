from collections.abc import AsyncIterator
from typing import Any

import anyio
from falcon.asgi import App


class View:
    async def on_get(self, request: Any, response: Any) -> None:
        await anyio.sleep(0.01)
        response.text = "hello"


async def parts() -> AsyncIterator[bytes]:
    for part in (b"hel", b"lo"):
        yield part
        await anyio.sleep(0.01)


class Stream:
    async def on_get(self, request: Any, response: Any) -> None:
        response.stream = parts()


class WebSocket:
    async def on_websocket(self, request: Any, socket: Any) -> None:
        await socket.accept()
        await socket.send_text("hello")
        await socket.close()


app = App()
app.add_route("/view", View())
app.add_route("/stream", Stream())
app.add_route("/websocket", WebSocket())
