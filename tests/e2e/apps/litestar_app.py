"""Litestar: typed handlers, a stream, a background task, a dependency. It runs on either backend."""

import sys
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import anyio
import anyio.lowlevel
import sniffio
from litestar import Litestar, Request, Response, get, post
from litestar.background_tasks import BackgroundTask
from litestar.datastructures import State, UploadFile
from litestar.di import Provide
from litestar.enums import RequestEncodingType
from litestar.params import Body
from litestar.response import File, Stream

# Of parameters without a mark; older versions have no marks.
warnings.simplefilter("ignore", DeprecationWarning)


def say(text: str) -> None:
    print(f"litestar: {text}", file=sys.stderr, flush=True)


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    app.state.greeting = "hello from the lifespan"
    say("lifespan began")
    yield
    say("lifespan ended")


@dataclass
class Item:
    name: str
    price: float


@get("/items/{item_id:int}")
async def read_item(item_id: int, state: State, q: str = "") -> dict[str, Any]:
    return {"item_id": item_id, "q": q, "greeting": state.greeting, "library": sniffio.current_async_library()}


@post("/items")
async def create_item(data: Item) -> Item:
    return data


@post("/form")
async def form(data: Annotated[dict[str, UploadFile], Body(media_type=RequestEncodingType.MULTI_PART)]) -> int:
    return len(await data["upload"].read())


@get("/source")
async def source() -> File:
    return File(__file__)


@get("/stream")
async def stream() -> Stream:
    async def numbers() -> AsyncIterator[bytes]:
        for number in range(100):
            yield b"%d\n" % number
            await anyio.lowlevel.checkpoint()

    return Stream(numbers())


@get("/endless")
async def endless() -> Stream:
    async def ticks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"tick\n"
                await anyio.sleep(0.01)
        finally:
            say("the stream is closed")

    return Stream(ticks())


@post("/upload")
async def upload(request: Request[Any, Any, Any]) -> dict[str, int]:
    count = 0
    async for piece in request.stream():
        count += len(piece)
    return {"bytes": count}


@get("/background")
async def background() -> Response[str]:
    async def work(text: str) -> None:
        say(text)

    return Response("accepted", background=BackgroundTask(work, "background task ran"))


@get("/sync", sync_to_thread=True)
def in_a_thread() -> str:
    return "from a thread"


async def connection() -> AsyncIterator[str]:
    try:
        yield "an open connection"
    finally:
        say("dependency closed")


@get("/dependency", dependencies={"found": Provide(connection)})
async def with_dependency(found: str) -> str:
    return found


@get("/fail")
async def fail() -> None:
    raise ValueError("on purpose, in Litestar")


app = Litestar(
    [read_item, create_item, form, source, stream, endless, upload, background, in_a_thread, with_dependency, fail],
    lifespan=[lifespan])
