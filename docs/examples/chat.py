"""A chat: what one browser says, all of them show.

    trioserve --app-dir docs/examples chat:app
"""

from pathlib import Path

import anyio
from fastapi import FastAPI, WebSocket
from fastapi.responses import HTMLResponse

app = FastAPI()

PAGE = Path(__file__).with_name("chat.html").read_text("utf-8")
LINES_BEHIND = 100  # so far may a reader be behind the others


class Member:
    """One browser, with the lines that it has not been sent yet."""

    def __init__(self, socket: WebSocket) -> None:
        self.socket = socket
        self.presence = anyio.CancelScope()
        self.outbox, self.lines = anyio.create_memory_object_stream[str](LINES_BEHIND)

    def offer(self, line: str) -> None:
        """Never waits: one slow reader must not hold up the others."""
        try:
            self.outbox.send_nowait(line)
        except anyio.WouldBlock:
            self.presence.cancel()

    async def deliver(self) -> None:
        """Send line by line; this waits while the browser's connection is slow."""
        async for line in self.lines:
            await self.socket.send_text(line)


members: set[Member] = set()


@app.get("/")
async def page() -> HTMLResponse:
    return HTMLResponse(PAGE)


@app.websocket("/chat")
async def chat(socket: WebSocket, name: str = "somebody") -> None:
    await socket.accept()
    member = Member(socket)
    members.add(member)
    try:
        with member.presence, member.outbox, member.lines:
            async with anyio.create_task_group() as nursery:
                nursery.start_soon(member.deliver)  # one task sends ...
                say(f"{name} joins")
                async for text in socket.iter_text():  # ... this one receives, until the browser has left
                    say(f"{name}: {text}")
                nursery.cancel_scope.cancel()
    finally:
        members.discard(member)
        say(f"{name} leaves")
    if member.presence.cancelled_caught:
        await socket.close(1013, "too slow")


def say(line: str) -> None:
    for member in list(members):
        member.offer(line)
