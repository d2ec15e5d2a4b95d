"""A WebSocket client over a memory stream that does exactly what it is told, and small applications for it."""

from tests.helpers.serving import Site
from tests.helpers.transcripts import get
from tests.helpers.ws_frames import CLOSE, KEY, TEXT, Frame, close_frame, frame, read_frames
from trioserve._asgi.http1_response import Http1Response
from trioserve._connection.http1 import Http1Connection
from trioserve._connection.websocket.session import WebSocket
from trioserve._streams.memory import MemoryClient
from trioserve._types import Message, Receive, Scope, Send

__all__ = [
    "ACCEPTED", "WebSocketClient", "accept", "echo", "handshake", "open_websocket", "receive_until_disconnect",
    "the_websocket",
]  # fmt: skip

ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
"""The whole answer to ``handshake()`` from an application that adds nothing."""


def handshake(*fields: str, target: str = "/", version: str = "13") -> bytes:
    return get(
        target, "connection: upgrade", "upgrade: websocket", f"sec-websocket-key: {KEY.decode()}",
        f"sec-websocket-version: {version}", *fields,
    )  # fmt: skip


class WebSocketClient:
    """Sends what it is given, reads frame by frame, answers nothing by itself."""

    def __init__(self, stream: MemoryClient) -> None:
        self.stream = stream

    async def send(self, *frames: bytes) -> None:
        await self.stream.send_all(b"".join(frames))

    async def text(self, text: str) -> None:
        await self.send(frame(TEXT, text.encode()))

    async def close(self, code: int | None = None, reason: bytes = b"") -> None:
        await self.send(close_frame(code, reason))

    async def receive(self) -> Frame:
        head = await self.stream.receive_exactly(2)
        extended = await self.stream.receive_exactly({126: 2, 127: 8}.get(head[1], 0))
        size = int.from_bytes(extended, "big") if extended else head[1]
        [read] = read_frames(head + extended + await self.stream.receive_exactly(size))
        return read

    async def receive_text(self) -> str:
        read = await self.receive()
        assert read.opcode == TEXT, read
        return read.payload.decode()

    async def receive_close(self) -> int:
        """The code of the close frame that comes next."""
        return (await self.receive()).close_code

    async def receive_rest(self) -> list[Frame]:
        """All frames until the connection ends."""
        return read_frames(await self.stream.receive_rest())

    async def say_goodbye(self) -> None:
        """A closing handshake, begun here; everything that was under way is dropped."""
        await self.close(1000)
        assert (await self.receive_rest())[-1].opcode == CLOSE
        await self.stream.aclose()


async def open_websocket(site: Site, *fields: str, target: str = "/") -> WebSocketClient:
    """A client whose handshake has been accepted."""
    stream = site.connect()
    await stream.send_all(handshake(*fields, target=target))
    head = await stream.receive_until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 "), head
    return WebSocketClient(stream)


def the_websocket(site: Site) -> tuple[Http1Connection, WebSocket[Http1Response]]:
    """The server's side of the only connection there is."""
    http1 = site.only_connection._protocol
    assert isinstance(http1, Http1Connection)
    websocket = http1.exchange
    assert isinstance(websocket, WebSocket)
    return http1, websocket


async def accept(receive: Receive, send: Send) -> None:
    assert await receive() == {"type": "websocket.connect"}
    await send({"type": "websocket.accept"})


async def receive_until_disconnect(receive: Receive) -> list[Message]:
    """All messages, the last of which is the end."""
    messages = [await receive()]
    while messages[-1]["type"] == "websocket.receive":
        messages.append(await receive())
    return messages


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await accept(receive, send)
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})
