"""An application inside an async context manager: a pool of connections, with tasks of its own, around all requests.

    trioserve --app-dir docs/examples open_app:open_app
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

import anyio
from fastapi import FastAPI


class Pool:
    """Stands for that of a database: open for a block, with a task that looks after its connections."""

    def __init__(self) -> None:
        self.is_open = False
        self.checks = 0

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["Pool"]:
        async with anyio.create_task_group() as nursery:
            nursery.start_soon(self.look_after_connections)
            self.is_open = True
            print("pool: open", flush=True)
            try:
                yield self
            finally:
                self.is_open = False
                nursery.cancel_scope.cancel()
                print("pool: closed", flush=True)

    async def look_after_connections(self) -> None:
        while True:
            self.checks += 1  # a connection that is lost for good would raise here, and the server would stop
            await anyio.sleep(60)

    async def fetch(self, query: str) -> str:
        if not self.is_open:
            raise RuntimeError("the pool is closed")
        await anyio.sleep(0.01)
        return f"rows of {query}"


current_pool: ContextVar[Pool] = ContextVar("current_pool")
api = FastAPI()


@api.get("/rows")
async def rows() -> str:
    return await current_pool.get().fetch("select 1")


@asynccontextmanager
async def open_app() -> AsyncIterator[FastAPI]:
    async with Pool().opened() as pool:
        current_pool.set(pool)  # all requests see it
        yield api
