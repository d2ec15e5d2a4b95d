"""One room on several workers: what one client says, all hear, whichever process they are connected to.

    REDIS_URL=redis://127.0.0.1:6379 trioserve --app-dir docs/examples room_redis:app --workers 2
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectSendStream
from coredis import Redis
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

ROOM = "room"
LINES_BEHIND = 100  # so far may a client be behind the others
here: set[MemoryObjectSendStream[str]] = set()  # the clients of this process


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    """One connection to Redis hears for all clients of the process."""
    url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379")
    async with (
        Redis.from_url(url, decode_responses=True) as redis,
        redis.pubsub(channels=[ROOM], ignore_subscribe_messages=True) as heard,
        anyio.create_task_group() as nursery,
    ):
        nursery.start_soon(pass_on, heard)
        yield {"redis": redis}
        nursery.cancel_scope.cancel()


async def pass_on(heard: Any) -> None:
    async for message in heard:
        for client in list(here):
            try:
                client.send_nowait(message["data"])
            except anyio.WouldBlock:
                client.close()  # it does not read: its task ends, and closes its WebSocket


async def room(socket: WebSocket) -> None:
    await socket.accept()
    outbox, lines = anyio.create_memory_object_stream[str](LINES_BEHIND)
    here.add(outbox)
    try:
        with outbox, lines:
            await socket.send_text(f"you are connected to process {os.getpid()}")
            async with anyio.create_task_group() as nursery:
                nursery.start_soon(listen, socket, nursery.cancel_scope)
                async for line in lines:
                    await socket.send_text(line)
                await socket.close(1013, "too slow")
                nursery.cancel_scope.cancel()
    finally:
        here.discard(outbox)


async def listen(socket: WebSocket, presence: anyio.CancelScope) -> None:
    async for text in socket.iter_text():  # until the client has left
        await socket.state.redis.publish(ROOM, text)
    presence.cancel()


app = Starlette(routes=[WebSocketRoute("/", room)], lifespan=lifespan)
