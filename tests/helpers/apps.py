"""Small ASGI applications, and what they are made of."""

from collections.abc import Iterable

import anyio

from trioserve._types import Receive, Scope, Send

__all__ = ["echo", "hello", "ignore", "part", "read_body", "reply", "sleeper", "start", "wait_for_ever"]


async def start(send: Send, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})


async def part(send: Send, body: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def reply(send: Send, body: bytes = b"", status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """A whole response in two messages."""
    await start(send, status, headers)
    await part(send, body, more=False)


async def read_body(receive: Receive) -> bytes:
    """The whole request body; raises EOFError when the client left before its end."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise EOFError(f"the client left after {len(body)} bytes")
        body += bytes(message["body"])
        if not message["more_body"]:
            return body


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the path, and reads nothing."""
    await reply(send, scope["path"].encode())


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the request's body."""
    await reply(send, await read_body(receive))


async def ignore(scope: Scope, receive: Receive, send: Send) -> None:
    """Returns without a response."""


async def sleeper(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers ``/3`` after 3 seconds."""
    await anyio.sleep(float(scope["path"][1:] or 0))
    await reply(send, scope["path"].encode())


async def wait_for_ever(scope: Scope, receive: Receive, send: Send) -> None:
    """Never answers."""
    await anyio.sleep_forever()
