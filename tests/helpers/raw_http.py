"""A client that sends exactly the bytes a test wants, and leaves in whatever manner the test wants."""

import json
import socket
import struct
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

__all__ = ["MEBIBYTE", "RawClient", "Response", "drip", "fetch", "push_until_stuck"]

MEBIBYTE: Final = 1024 * 1024
PATIENCE_SECONDS: Final = 20.0
_RESET: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Response:
    """One response, its body without framing."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class RawClient:
    """One connection. Every wait ends after ``PATIENCE_SECONDS`` with a TimeoutError."""

    def __init__(self, address: tuple[str, int], *, source: str = "", receive_buffer: int | None = None) -> None:
        self.sock = sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            if receive_buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            if source:
                sock.bind((source, 0))
            sock.settimeout(PATIENCE_SECONDS)
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            sock.close()
            raise
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Sending and leaving.

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def get(self, target: str, *fields: str) -> None:
        """Send a GET request without waiting for the answer."""
        self.send("\r\n".join([f"GET {target} HTTP/1.1", "Host: test", *fields, "", ""]).encode())

    def half_close(self) -> None:
        """Say that no more bytes follow, and go on listening."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Leave with a RST instead of a FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.sock.close()

    def close(self) -> None:
        self.sock.close()

    # Receiving.

    def receive_until(self, mark: bytes) -> bytes:
        """Everything up to ``mark`` and the mark itself."""
        while mark not in self._received:
            self._receive_more()
        return self._take(self._received.index(mark) + len(mark))

    def receive_exactly(self, count: int) -> bytes:
        while len(self._received) < count:
            self._receive_more()
        return self._take(count)

    def receive_all(self) -> bytes:
        """Everything until the server closes the connection. A reset raises ConnectionResetError."""
        while data := self.sock.recv(65536):
            self._received += data
        return self._take(len(self._received))

    def receive_response(self, *, to_head: bool = False) -> Response:
        """The next final response (RFC 9112 §6.3)."""
        lines = self.receive_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status, *_ = lines[0].split(" ")
        assert version == "HTTP/1.1"
        headers = {}
        for line in filter(None, lines[1:]):
            name, _, value = line.partition(":")
            assert name.lower() not in headers, f"{name} twice in\n{lines}"
            headers[name.lower()] = value.strip()
        if status == "100":
            return self.receive_response(to_head=to_head)
        return Response(int(status), headers, b"" if to_head else self._receive_body(int(status), headers))

    def _receive_body(self, status: int, headers: dict[str, str]) -> bytes:
        if status in (204, 304):
            return b""
        if headers.get("transfer-encoding") == "chunked":
            return b"".join(iter(self.receive_chunk, b""))
        if "content-length" in headers:
            return self.receive_exactly(int(headers["content-length"]))
        return self.receive_all()

    def receive_chunk(self) -> bytes:
        """The next chunk of a chunked body, ``b""`` for the last one; there are no trailers."""
        size = int(self.receive_until(b"\r\n"), 16)
        data = self.receive_exactly(size)
        assert self.receive_exactly(2) == b"\r\n"
        return data

    def is_closed(self) -> bool:
        """Wait for the server to close the connection; false when bytes come instead."""
        try:
            return not self._received and self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def _receive_more(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError(f"the server closed the connection after {self._received!r}")
        self._received += data

    def _take(self, count: int) -> bytes:
        data, self._received = self._received[:count], self._received[count:]
        return data


def fetch(address: tuple[str, int], target: str) -> Response:
    """One GET request on a connection of its own."""
    with RawClient(address) as client:
        client.get(target, "Connection: close")
        response = client.receive_response()
        assert client.is_closed()
    return response


def drip(client: RawClient, data: bytes, every_seconds: float) -> float:
    """Send ``data`` byte by byte, for ever, until the server says something; return how long it took, in seconds."""
    began = time.monotonic()
    patience = client.sock.gettimeout()
    client.sock.settimeout(every_seconds)
    try:
        while time.monotonic() - began < 30:
            for byte in data:
                client.send(bytes([byte]))
                try:
                    client.sock.recv(1, socket.MSG_PEEK)
                except TimeoutError:
                    continue
                return time.monotonic() - began
    finally:
        client.sock.settimeout(patience)
    raise AssertionError("the server has more patience than anybody should have")


def push_until_stuck(client: RawClient, data: bytes) -> int:
    """Send ``data`` again and again until nobody has taken a byte for half a second; return how many were taken."""
    patience = client.sock.gettimeout()
    client.sock.settimeout(0.5)
    pushed = 0
    try:
        while pushed < 200 * MEBIBYTE:
            pushed += client.sock.send(data)
    except TimeoutError:
        return pushed
    finally:
        client.sock.settimeout(patience)
    raise AssertionError("the server takes more than anybody asked for")
