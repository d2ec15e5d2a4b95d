"""Answers that can be told from the request, so that whoever asks notices a byte too many or too few."""

import hashlib
import random
from typing import Any

import anyio

from trioserve._types import Receive, Scope, Send


def content(seed: int, size: int) -> bytes:
    """``size`` bytes that nobody else has."""
    return random.Random(seed).randbytes(size)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        asked = {name: int(value) for name, value in (
            part.split("=") for part in scope["query_string"].decode().split("&") if part)}
        await ROUTES[scope["path"]](receive, send, **asked)


async def fixed(receive: Receive, send: Send, seed: int, size: int) -> None:
    """All at once."""
    await answer(send, content(seed, size))


async def parts(receive: Receive, send: Send, seed: int, size: int) -> None:
    """In parts of all sizes, with a pause now and then."""
    choice, body = random.Random(seed), content(seed, size)
    await send({"type": "http.response.start", "status": 200})
    while body:
        length = choice.choice((1, 10, 1_000, 5_000, 70_000))
        await send({"type": "http.response.body", "body": body[:length], "more_body": True})
        body = body[length:]
        if choice.random() < 0.1:
            await anyio.sleep(choice.random() * 0.005)
    await send({"type": "http.response.body"})


async def echo(receive: Receive, send: Send) -> None:
    """Each piece of the body back as it comes."""
    await send({"type": "http.response.start", "status": 200})
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message["more_body"]
        await send({"type": "http.response.body", "body": message["body"], "more_body": more})


async def digest(receive: Receive, send: Send) -> None:
    """The body's SHA-256, once all of it is here."""
    found, more = hashlib.sha256(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        found.update(message["body"])
        more = message["more_body"]
    await answer(send, found.hexdigest().encode())


async def ignore(receive: Receive, send: Send) -> None:
    """Does not read the body."""
    await answer(send, b"ignored")


async def watch(receive: Receive, send: Send) -> None:
    """Reads the body, and then whether the client leaves, while it computes its answer."""
    async def wait_for_disconnect() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        working.cancel_scope.cancel()

    async with anyio.create_task_group() as working:
        working.start_soon(wait_for_disconnect)
        await anyio.sleep(random.random() * 0.02)
        await answer(send, b"watched")
        working.cancel_scope.cancel()


async def answer(send: Send, body: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


ROUTES: dict[str, Any] = {f"/{route.__name__}": route for route in (fixed, parts, echo, digest, ignore, watch)}
