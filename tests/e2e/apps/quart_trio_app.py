"""Quart-Trio: handlers may open nurseries."""

import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Any

import quart.wrappers
import trio
from quart import Response, abort, request, websocket
from quart_trio import QuartTrio

app = QuartTrio(__name__)

# Quart 0.23 raises it in a handler that waits for a client which leaves; before, the handler was only cancelled.
CLIENT_LEFT: type[Exception] = getattr(quart.wrappers, "ClientDisconnectedError", ConnectionError)


def say(text: str) -> None:
    print(f"quart: {text}", file=sys.stderr, flush=True)


@app.before_serving
async def begin() -> None:
    say("before serving")


@app.after_serving
async def end() -> None:
    say("after serving")


@app.get("/json")
async def json() -> dict[str, Any]:
    return {"path": request.path, "query": request.args.to_dict()}


@app.post("/form")
async def form() -> dict[str, Any]:
    fields = await request.form
    uploads = await request.files
    return {"name": fields["name"], "bytes": len(uploads["upload"].read())}


@app.get("/nursery")
async def nursery() -> dict[str, list[int]]:
    """Three children, one after the other by a chain of events, so that only tasks that run together get through."""
    links = [trio.Event() for _ in range(4)]
    order: list[int] = []

    async def child(number: int) -> None:
        await links[number + 1].wait()
        order.append(number)
        links[number].set()

    async with trio.open_nursery() as children:
        for number in range(3):
            children.start_soon(child, number)
        links[3].set()
    return {"order": order}


@app.get("/stream")
async def stream() -> Response:
    async def numbers() -> AsyncIterator[bytes]:
        for number in range(100):
            yield b"%d\n" % number
            await trio.lowlevel.checkpoint()

    return Response(numbers(), content_type="text/plain")


@app.get("/endless")
async def endless() -> Response:
    async def ticks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"tick\n"
                await trio.sleep(0.01)
        finally:
            say("the stream is closed")

    return Response(ticks())


@app.post("/upload")
async def upload() -> dict[str, int]:
    count = 0
    async for piece in request.body:
        count += len(piece)
    return {"bytes": count}


@app.get("/fail")
async def fail() -> str:
    raise ValueError("on purpose, in Quart")


@app.get("/fail_in_nursery")
async def fail_in_nursery() -> str:
    async with trio.open_nursery() as children:
        children.start_soon(trio.sleep_forever)
        children.start_soon(fail)
    return "no child failed"


@app.get("/hang")
async def hang() -> str:
    async with trio.open_nursery() as children:
        children.start_soon(trio.sleep_forever)
        say("hanging")
        try:
            await trio.sleep_forever()
        finally:
            say("the nursery is cancelled")
    return "nobody left"


@app.websocket("/echo")
async def echo() -> None:
    if "key" not in websocket.args:
        abort(401)
    await websocket.accept(headers={"x-framework": "quart"})
    with contextlib.suppress(CLIENT_LEFT):
        while True:
            await websocket.send(await websocket.receive())


@app.websocket("/both-ways")
async def both_ways() -> None:
    """One task sends, another one receives, in a nursery of the handler's."""
    async def count() -> None:
        try:
            while True:
                await websocket.send("tick")
                await trio.sleep(0.01)
        finally:
            say("counting is cancelled")

    async with trio.open_nursery() as children:
        children.start_soon(count)
        say(f"heard {await websocket.receive()!r}")
        await websocket.close(4000, "heard enough")
        children.cancel_scope.cancel()
