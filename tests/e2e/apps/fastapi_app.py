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
from fastapi import BackgroundTasks, Depends, FastAPI, Form, HTTPException, Request, UploadFile
from fastapi.responses import StreamingResponse
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
