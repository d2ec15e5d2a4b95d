"""A WebSocket over a socket that does exactly what it is told. By itself it only answers a ping before a message."""

from typing import Final

from tests.helpers.raw_http import RawClient
from tests.helpers.ws_frames import KEY, PING, PONG, TEXT, Frame, close_frame, frame, read_frames

__all__ = ["DEFLATE", "RawWebSocket", "handshake"]

DEFLATE: Final = "Sec-WebSocket-Extensions: permessage-deflate"


def handshake(target: str, *fields: str) -> bytes:
    lines = [
        f"GET {target} HTTP/1.1", "Host: test", "Upgrade: websocket", "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY.decode()}", "Sec-WebSocket-Version: 13", *fields, "", "",
    ]
    return "\r\n".join(lines).encode()


class RawWebSocket(RawClient):
    """Frames as a test wants them, on a connection of its own."""

    def ask(self, target: str, *fields: str) -> None:
        """Send the handshake without waiting for the answer."""
        self.send(handshake(target, *fields))

    def receive_accept(self) -> bytes:
        """The head that accepts it."""
        head = self.receive_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        return head

    def open(self, target: str, *fields: str) -> bytes:
        self.ask(target, *fields)
        return self.receive_accept()

    def text(self, text: str) -> None:
        self.send(frame(TEXT, text.encode()))

    def receive_frame(self) -> Frame:
        head = self.receive_exactly(2)
        extended = self.receive_exactly({126: 2, 127: 8}.get(head[1], 0))
        size = int.from_bytes(extended, "big") if extended else head[1]
        [read] = read_frames(head + extended + self.receive_exactly(size))
        return read

    def receive_text(self) -> str:
        """The message that comes next; a ping before it is answered."""
        read = self._receive_no_ping()
        assert read.opcode == TEXT, read
        return read.payload.decode()

    def receive_close(self) -> int:
        """The code of the close frame that comes next."""
        return self.receive_frame().close_code

    def echo(self, text: str) -> None:
        self.text(text)
        assert self.receive_text() == text

    def say_goodbye(self) -> None:
        """The closing handshake, begun here, and nothing else under way."""
        self.send(close_frame(1000))
        assert self._receive_no_ping().close_code == 1000
        assert self.is_closed()

    def _receive_no_ping(self) -> Frame:
        while (read := self.receive_frame()).opcode == PING:
            self.send(frame(PONG, read.payload))
        return read
