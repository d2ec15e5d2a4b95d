"""A start-up that is interrupted between two steps, and cannot take back the first one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from fastapi import FastAPI

workers: list[str] = []


async def enlist() -> None:
    await anyio.sleep(0.01)  # a message to a registry
    workers.append("me")


async def strike_off() -> None:
    await anyio.sleep(0.01)  # another one
    workers.remove("me")


async def warm_up() -> None:
    await anyio.sleep(0.1)


@asynccontextmanager
async def enlisted(app: FastAPI) -> AsyncIterator[None]:
    await enlist()
    try:
        await warm_up()
        yield
    finally:
        await strike_off()


@asynccontextmanager
async def surely_enlisted(app: FastAPI) -> AsyncIterator[None]:
    await enlist()
    try:
        await warm_up()
        yield
    finally:
        with anyio.move_on_after(5, shield=True):
            await strike_off()


app = FastAPI(lifespan=enlisted)
mended = FastAPI(lifespan=surely_enlisted)


@app.get("/")
@mended.get("/")
async def hello() -> str:
    return "hello"
