"""trioserve inside a trio program: the server is one more child of a nursery.

    python docs/examples/embed_trio.py
"""

from typing import Any

import httpx
import trio

import trioserve


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"a child of your nursery\n"})


async def main() -> None:
    async with trio.open_nursery() as nursery:
        # start() returns when the server accepts connections; port 0 takes a free port.
        [(host, port)] = await nursery.start(trioserve.serve, app, trioserve.Config(port=0))

        async with httpx.AsyncClient() as client:  # your program's own work
            answer = await client.get(f"http://{host}:{port}/")
        print(answer.text, end="")

        nursery.cancel_scope.cancel()  # cancelling the server is a graceful stop


if __name__ == "__main__":
    trio.run(main)
