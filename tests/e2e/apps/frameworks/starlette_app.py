from collections.abc import AsyncIterator

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket


async def view(request: Request) -> PlainTextResponse:
    await anyio.sleep(0.01)
    return PlainTextResponse("hello")


def thread(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def parts() -> AsyncIterator[str]:
    for part in ("hel", "lo"):
        yield part
        await anyio.sleep(0.01)


async def stream(request: Request) -> StreamingResponse:
    return StreamingResponse(parts())


async def websocket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("hello")
    await websocket.close()


app = Starlette(
    routes=[
        Route("/view", view), Route("/thread", thread), Route("/stream", stream),
        WebSocketRoute("/websocket", websocket),
    ])
