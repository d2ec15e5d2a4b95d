"""trioserve inside an asyncio program: the server is one more task of a TaskGroup.

    python docs/examples/embed_asyncio.py
"""

import asyncio
from typing import Any

import httpx

import trioserve


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"a task of your TaskGroup\n"})


class Ready(asyncio.Future[list[tuple[str, int]]]):
    """asyncio's TaskGroup has no ``start()``; a future that is told the addresses does the same."""

    def started(self, value: Any = None) -> None:
        self.set_result(value)


async def main() -> None:
    async with asyncio.TaskGroup() as tasks:
        ready = Ready()
        server = tasks.create_task(trioserve.serve(app, trioserve.Config(port=0), task_status=ready))
        [(host, port)] = await ready

        async with httpx.AsyncClient() as client:  # your program's own work
            answer = await client.get(f"http://{host}:{port}/")
        print(answer.text, end="")

        server.cancel()  # cancelling the server is a graceful stop


if __name__ == "__main__":
    asyncio.run(main())
