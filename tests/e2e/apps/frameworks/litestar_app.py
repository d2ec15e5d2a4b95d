from collections.abc import AsyncIterator

import anyio
from litestar import Litestar, WebSocket, get, websocket
from litestar.response import Stream


@get("/view")
async def view() -> str:
    await anyio.sleep(0.01)
    return "hello"


@get("/thread", sync_to_thread=True)
def thread() -> str:
    return "hello"


async def parts() -> AsyncIterator[str]:
    for part in ("hel", "lo"):
        yield part
        await anyio.sleep(0.01)


@get("/stream")
async def stream() -> Stream:
    return Stream(parts())


@websocket("/websocket")
async def hello(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("hello")
    await socket.close()


app = Litestar([view, thread, stream, hello])
