from sanic import HTTPResponse, Request, Sanic, Websocket
from sanic.response import text

app = Sanic("greetings")


@app.get("/view")
async def view(request: Request) -> HTTPResponse:
    return text("hello")


@app.get("/stream")
async def stream(request: Request) -> None:
    response = await request.respond(content_type="text/plain")
    for part in ("hel", "lo"):
        await response.send(part)


@app.websocket("/websocket")
async def hello(request: Request, socket: Websocket) -> None:
    await socket.send("hello")
