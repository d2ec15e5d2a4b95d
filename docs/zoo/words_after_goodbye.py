"""A WebSocket that is closed, and then spoken to."""

from fastapi import FastAPI, WebSocket

app = FastAPI()
mended = FastAPI()


@app.websocket("/")
async def answer(socket: WebSocket) -> None:
    await socket.accept()
    question = await socket.receive_text()
    if question != "the price":
        await socket.close(1008, "ask for the price")
    await socket.send_text("12")


@mended.websocket("/")
async def answer_or_close(socket: WebSocket) -> None:
    await socket.accept()
    question = await socket.receive_text()
    if question == "the price":
        await socket.send_text("12")
    else:
        await socket.close(1008, "ask for the price")
