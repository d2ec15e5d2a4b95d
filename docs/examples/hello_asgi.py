"""The smallest ASGI application, and a server for it.

    python docs/examples/hello_asgi.py
"""

from typing import Any

import trioserve


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":  # no lifespan: the server does without
        raise NotImplementedError(scope["type"])
    text = f"Hello from {scope['path']}\n".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": text})


if __name__ == "__main__":
    trioserve.run(app, port=8000)
