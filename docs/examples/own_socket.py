"""trioserve on a unix socket that the program has opened itself.

    python docs/examples/own_socket.py
"""

import socket
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx

import trioserve


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    path, _ = scope["server"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": f"served on {Path(path).name}\n".encode()})


async def main(path: str) -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    async with anyio.create_task_group() as nursery:
        await nursery.start(partial(trioserve.serve, app, sockets=[sock]))  # the server closes it

        transport = httpx.AsyncHTTPTransport(uds=path)
        async with httpx.AsyncClient(transport=transport) as client:
            answer = await client.get("http://localhost/")
        print(answer.text, end="")

        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        anyio.run(main, f"{directory}/app.sock", backend="trio")
