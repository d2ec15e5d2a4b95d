from collections.abc import AsyncIterator

from quart import Quart, websocket

app = Quart(__name__)


@app.get("/view")
async def view() -> str:
    return "hello"


@app.get("/thread")
def thread() -> str:
    return "hello"


@app.get("/stream")
async def stream() -> AsyncIterator[str]:
    async def parts() -> AsyncIterator[str]:
        for part in ("hel", "lo"):
            yield part

    return parts()


@app.websocket("/websocket")
async def hello() -> None:
    await websocket.send("hello")
