"""A FastAPI application. Nothing in it knows about trioserve.

    trioserve --app-dir docs/examples hello_fastapi:app
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from fastapi import FastAPI


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.greeting = "Hello"  # before the first request
    yield  # after the last


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def hello(name: str = "world") -> dict[str, str]:
    await anyio.sleep(0.01)  # anyio: runs on trio and on asyncio
    return {"message": f"{app.state.greeting}, {name}"}
