"""A WebSocket's client over a connection in memory, on wsproto (RFC 6455)."""

from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio
import wsproto
from wsproto import events
from wsproto.extensions import PerMessageDeflate

from trioserve.testing.raw_client import RawClient

if TYPE_CHECKING:
    from anyio.abc import ByteStream

__all__ = ["WebSocketClient", "WebSocketClosed", "WebSocketRefused", "open_websocket"]

NO_CODE: Final = 1005  # a close frame without a code, RFC 6455 §7.4.1
ABNORMAL: Final = 1006  # an end without a close frame


class WebSocketRefused(Exception):
    """The server has answered the handshake with a response instead of 101.

    Attributes:
        status: its status code.
        headers: its fields, names in lower case.
        body: its body.
    """

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        super().__init__(f"the WebSocket was refused with {status}: {body!r:.200}")
        self.status = status
        self.headers = headers
        self.body = body


class WebSocketClosed(Exception):
    """The server has closed the WebSocket, or the connection has ended.

    Attributes:
        code: of its close frame; 1005 when that had none, 1006 when there was no close frame (RFC 6455 §7.1.5).
        reason: of its close frame.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"the WebSocket was closed with code {code}{f': {reason}' if reason else ''}")
        self.code = code
        self.reason = reason


class WebSocketClient:
    """An open WebSocket. It answers pings while it receives, and only then. ``MemoryServer.websocket`` makes it.

    Attributes:
        subprotocol: the one that the application has chosen, or ``None``.
        headers: fields of the handshake's answer besides those of RFC 6455, names in lower case.
        connection: the bytes below, for a client that misbehaves: ``websocket.connection.vanish()``.
    """

    def __init__(self, connection: RawClient, stream: "ByteStream") -> None:
        self.connection = connection
        self._stream = stream  # the connection, or TLS over it
        self.subprotocol: str | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self._frames = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        self._messages: deque[str | bytes] = deque()
        self._parts: list[str | bytes] = []  # of the message that is arriving
        self._refused: WebSocketRefused | None = None
        self._closed: WebSocketClosed | None = None

    @property
    def close_code(self) -> int | None:
        """That of the end, as ``WebSocketClosed`` has it; ``None`` while there is none."""
        return None if self._closed is None else self._closed.code

    async def open(self, request: events.Request) -> None:
        """The handshake (RFC 6455 §4.1). Raises WebSocketRefused, or WebSocketClosed if there is no answer."""
        await self._say(request)
        while self._frames.state is not wsproto.connection.ConnectionState.OPEN:
            await self._listen()
            if self._closed is not None:
                raise self._refused or self._closed

    async def send(self, message: str | bytes) -> None:
        """Send one message: text, or bytes. Raises WebSocketClosed, as ``receive`` does."""
        await self._say(events.TextMessage(message) if isinstance(message, str) else events.BytesMessage(message))

    async def ping(self, payload: bytes = b"") -> None:
        """Send a ping (RFC 6455 §5.5.2)."""
        await self._say(events.Ping(payload))

    async def receive(self) -> str | bytes:
        """The next message: text, or bytes. Raises WebSocketClosed when there will be none."""
        while not self._messages:
            if self._closed is not None:
                raise self._closed
            await self._listen()
        return self._messages.popleft()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close, and wait for the server's close frame; messages that were under way are dropped (RFC 6455 §7.1.1)."""
        if self._closed is None:
            await self._say(events.CloseConnection(code, reason))
        while self._closed is None:
            await self._listen()
        await self._stream.aclose()

    async def leave(self) -> None:
        """Close, unless the connection has been closed, reset or left in silence already."""
        if not self.connection.is_closed:
            await self.close()

    async def _say(self, event: events.Event) -> None:
        if self._closed is not None:
            raise self._closed
        try:
            await self._stream.send(self._frames.send(event))
        except anyio.BrokenResourceError as exc:
            self._closed = WebSocketClosed(ABNORMAL, "")
            raise self._closed from exc

    async def _listen(self) -> None:
        """Take one piece of what the server sends."""
        try:
            data = await self._stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            self._closed = self._closed or WebSocketClosed(ABNORMAL, "")
            return
        self._frames.receive_data(data)
        for event in self._frames.events():
            await self._take(event)

    async def _take(self, event: events.Event) -> None:
        if isinstance(event, events.Message):
            self._parts.append(event.data)
            if event.message_finished:
                empty = "" if isinstance(event, events.TextMessage) else b""
                self._messages.append(empty.join(self._parts))  # type: ignore[arg-type]  # all are of one type
                self._parts = []
        elif isinstance(event, events.Ping):
            await self._say(event.response())
        elif isinstance(event, events.CloseConnection):
            if self._frames.state is wsproto.connection.ConnectionState.REMOTE_CLOSING:
                await self._say(event.response())
            self._closed = WebSocketClosed(event.code or NO_CODE, event.reason or "")
        elif isinstance(event, events.AcceptConnection):
            self.subprotocol, self.headers = event.subprotocol, list(event.extra_headers)
        elif isinstance(event, events.RejectConnection):
            self._refused = WebSocketRefused(event.status_code, list(event.headers), b"")
        elif isinstance(event, events.RejectData) and self._refused is not None:
            self._refused.body += event.data
            if event.body_finished:
                self._closed = WebSocketClosed(ABNORMAL, "")


@asynccontextmanager
async def open_websocket(
    connection: RawClient, stream: "ByteStream", target: str, headers: Mapping[str, str], subprotocols: Iterable[str],
    deflate: bool,
) -> AsyncIterator[WebSocketClient]:  # fmt: skip
    """See ``MemoryServer.websocket``. ``stream`` is ``connection``, or TLS over it."""
    websocket = WebSocketClient(connection, stream)
    extra_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    request = events.Request(
        host="test", target=target, extra_headers=extra_headers, subprotocols=list(subprotocols),
        extensions=[PerMessageDeflate()] if deflate else [])
    try:
        await websocket.open(request)
        yield websocket
    except BaseException:
        connection.reset()
        raise
    await websocket.leave()
