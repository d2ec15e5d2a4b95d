"""What FastAPI's tutorial teaches, in one application. It runs on either backend."""

import sys
import threading
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
import anyio.lowlevel
import sniffio
from fastapi import (
    BackgroundTasks,
    Depends,
    FastAPI,
    Form,
    HTTPException,
    Request,
    UploadFile,
    WebSocket,
    WebSocketDisconnect,
    WebSocketException,
    status,
)
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel, Field


def say(text: str) -> None:
    print(f"fastapi: {text}", file=sys.stderr, flush=True)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    say("lifespan began")
    yield {"greeting": "hello from the lifespan", "released": defaultdict(anyio.Event)}
    say("lifespan ended")


app = FastAPI(lifespan=lifespan)


class Item(BaseModel):
    name: str
    price: float = Field(gt=0)
    tags: list[str] = []


@app.get("/items/{item_id}")
async def read_item(item_id: int, q: str | None = None) -> dict[str, Any]:
    if item_id == 404:
        raise HTTPException(404, "no such item")
    return {"item_id": item_id, "q": q, "library": sniffio.current_async_library()}


@app.post("/items", status_code=201)
async def create_item(item: Item) -> Item:
    return item


@app.post("/form")
async def form(name: Annotated[str, Form()], upload: UploadFile) -> dict[str, Any]:
    data = await upload.read()
    return {"name": name, "filename": upload.filename, "bytes": len(data), "sum": sum(data)}


@app.get("/source")
async def source() -> FileResponse:
    return FileResponse(__file__)


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def numbers() -> AsyncIterator[str]:
        for number in range(1000):
            yield f"{number}\n"
            await anyio.lowlevel.checkpoint()

    return StreamingResponse(numbers(), media_type="text/plain")


@app.get("/endless")
async def endless() -> StreamingResponse:
    async def ticks() -> AsyncIterator[str]:
        try:
            while True:
                yield "tick\n"
                await anyio.sleep(0.01)
        finally:
            say("endless stream closed")

    return StreamingResponse(ticks(), media_type="text/plain")


@app.post("/background")
async def background(request: Request, tasks: BackgroundTasks, token: str) -> dict[str, str]:
    """Answers at once; the work waits until somebody asks for ``/release``."""
    async def work() -> None:
        say(f"{token} working")
        await request.state.released[token].wait()
        say(f"{token} finished")

    tasks.add_task(work)
    return {"status": "accepted"}


@app.post("/release")
async def release(request: Request, token: str) -> None:
    request.state.released[token].set()


@app.get("/sync")
def in_a_thread() -> dict[str, Any]:
    return {"main_thread": threading.current_thread() is threading.main_thread()}


async def connection(token: str) -> AsyncIterator[str]:
    say(f"{token} opened")
    try:
        yield f"connection of {token}"
    finally:
        say(f"{token} closed")


@app.get("/dependency")
async def with_dependency(found: Annotated[str, Depends(connection)]) -> dict[str, str]:
    return {"found": found}


@app.get("/dependency/hang")
async def hang_with_dependency(found: Annotated[str, Depends(connection)]) -> None:
    await anyio.sleep_forever()


@app.get("/state")
async def state(request: Request) -> dict[str, str]:
    return {"greeting": request.state.greeting}


@app.get("/fail")
async def fail() -> None:
    raise ValueError("on purpose, in FastAPI")


# WebSockets.


@app.websocket("/items/{item_id}/prices")
async def prices(
    socket: WebSocket, item_id: int, token: str, found: Annotated[str, Depends(connection)], factor: float = 1.0
) -> None:
    """A path parameter, a query, a dependency that lives as long as the WebSocket, and JSON in both directions."""
    await socket.accept(headers=[(b"x-item", str(item_id).encode())])
    await socket.send_json({"item_id": item_id, "found": found, "greeting": socket.state.greeting})
    try:
        while True:
            item = Item(**await socket.receive_json())
            await socket.send_json({"name": item.name, "price": item.price * factor})
    except WebSocketDisconnect as exc:
        say(f"{token} disconnected {exc.code} {exc.reason!r}")


async def member(socket: WebSocket) -> str:
    """Who has no cookie gets no WebSocket."""
    name = socket.cookies.get("member")
    if name is None:
        raise WebSocketException(status.WS_1008_POLICY_VIOLATION, "members only")
    if name == "debtor":
        raise HTTPException(402, "pay first")
    return name


@app.websocket("/members")
async def members(socket: WebSocket, name: Annotated[str, Depends(member)]) -> None:
    await socket.accept()
    await socket.send_text(f"welcome, {name}")
    raise WebSocketException(4000, "that was all")


@app.websocket("/fail")
async def fail_in_a_socket(socket: WebSocket) -> None:
    await socket.accept()
    raise ValueError("on purpose, in a WebSocket of FastAPI")


@app.websocket("/ticks")
async def ticks_for_ever(socket: WebSocket, token: str) -> None:
    """Never receives: that the client has left is what a send says."""
    await socket.accept()
    try:
        while True:
            await socket.send_text("tick")
            await anyio.sleep(0.01)
    except WebSocketDisconnect as exc:
        say(f"{token} disconnected {exc.code}")
        raise
