from blacksheep import Application, WebSocket, get, ws

app = Application()


@get("/view")
async def view() -> str:
    return "hello"


@ws("/websocket")
async def websocket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("hello")
    await websocket.close()
