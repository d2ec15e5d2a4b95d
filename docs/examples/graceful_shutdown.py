"""A shutdown, from the inside out: first the request in progress, then the lifespan, then the program.

    python docs/examples/graceful_shutdown.py trio
    python docs/examples/graceful_shutdown.py asyncio
"""

import sys
from typing import Any

import anyio
import httpx

import trioserve


class SlowApp:
    """An application whose one answer takes a while."""

    def __init__(self) -> None:
        self.entered = anyio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await self.lifespan(receive, send)
        self.entered.set()
        await anyio.sleep(0.2)  # meanwhile the server is told to stop
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"finished all the same"})

    async def lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()  # comes when every connection is closed
        print("lifespan: closing resources")
        await send({"type": "lifespan.shutdown.complete"})


async def visit(url: str) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.get(url)
    print("client:", answer.status_code, answer.text)


async def main() -> None:
    app = SlowApp()
    async with anyio.create_task_group() as visitors:
        async with anyio.create_task_group() as servers:
            [(host, port)] = await servers.start(trioserve.serve, app, trioserve.Config(port=0))
            visitors.start_soon(visit, f"http://{host}:{port}/")
            await app.entered.wait()
            servers.cancel_scope.cancel()  # what SIGTERM does to `trioserve` itself
        print("server: stopped")  # the block ends when the server has ended


if __name__ == "__main__":
    anyio.run(main, backend=sys.argv[1] if len(sys.argv) > 1 else "trio")
