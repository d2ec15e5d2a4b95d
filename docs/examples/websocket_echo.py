"""A WebSocket as ASGI shows it: three kinds of messages come, three kinds go.

    trioserve --app-dir docs/examples websocket_echo:app
"""

from typing import Any


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Accept, send back what comes, and end when the client has gone."""
    if scope["type"] != "websocket":
        raise NotImplementedError(scope["type"])
    await receive()  # websocket.connect: the client has asked, and waits for an answer
    if scope["path"] != "/echo":
        await send({"type": "websocket.close"})  # before accept: the answer is 403
        return
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})
    print("closed with", message["code"], flush=True)  # websocket.disconnect
