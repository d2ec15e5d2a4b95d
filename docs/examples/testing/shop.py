"""A small application, as one has it: uploads, a slow supplier, events, and a lifespan.

    trioserve shop:app --timeout-request 30
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.uploads = []  # what has become of each
    app.state.log = ["opened"]
    yield
    app.state.log.append("closed")


app = FastAPI(lifespan=lifespan)


@app.get("/price")
async def price(seconds: float = 0) -> dict[str, int]:
    """Asks a supplier, who takes his time."""
    await anyio.sleep(seconds)
    return {"cents": 250}


@app.get("/report")
def report() -> dict[str, str]:
    """A plain function, which FastAPI runs in a thread."""
    return {"report": "all is well"}


@app.put("/upload")
async def upload(request: Request) -> dict[str, int]:
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
    except BaseException:  # the client has left, or the server cancels
        app.state.uploads.append(f"given up after {size} bytes")
        raise
    app.state.uploads.append(f"{size} bytes")
    return {"size": size}


@app.get("/events")
async def events() -> StreamingResponse:
    async def stream() -> AsyncIterator[str]:
        try:
            for number in range(100_000):
                yield f"data: {number}\n\n"
                await anyio.sleep(1)
        finally:
            app.state.log.append("stream ended")

    return StreamingResponse(stream(), media_type="text/event-stream")


@app.websocket("/chat")
async def chat(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(f"you said {text}")
