from collections.abc import AsyncIterator

import anyio
from fastapi import FastAPI, WebSocket
from fastapi.responses import StreamingResponse

app = FastAPI()


@app.get("/view")
async def view() -> str:
    await anyio.sleep(0.01)
    return "hello"


@app.get("/thread")
def thread() -> str:
    return "hello"


async def parts() -> AsyncIterator[str]:
    for part in ("hel", "lo"):
        yield part
        await anyio.sleep(0.01)


@app.get("/stream")
async def stream() -> StreamingResponse:
    return StreamingResponse(parts())


@app.websocket("/websocket")
async def websocket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("hello")
    await websocket.close()
