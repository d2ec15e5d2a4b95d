"""A client of HTTP/2 over a real socket, on h2: many streams on one connection, and no task or thread of its own."""

import socket
from types import TracebackType
from typing import Final, Self

import h2.config
import h2.connection
import h2.events

__all__ = ["RawHttp2Client"]

PATIENCE_SECONDS: Final = 20.0
RECEIVE_BYTES: Final = 65536


class RawHttp2Client:
    """Begins with HTTP/2 at once (RFC 9113 §3.3). Every wait ends after ``PATIENCE_SECONDS`` with a TimeoutError.

    Attributes:
        bodies: what has come of each answer that has begun, by the number of its stream.
        ended: streams whose answers are complete.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self._sock = socket.create_connection(address, PATIENCE_SECONDS)
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self._h2.initiate_connection()
        self.bodies: dict[int, bytes] = {}
        self.ended: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sock.close()

    def ask(self, *paths: str) -> list[int]:
        """Send a GET for each of ``paths``; returns their streams."""
        streams = []
        for path in paths:
            streams.append(stream_id := self._h2.get_next_available_stream_id())
            head = [(":method", "GET"), (":scheme", "http"), (":authority", "test"), (":path", path)]
            self._h2.send_headers(stream_id, head, end_stream=True)
        self._say()
        return streams

    def get(self, path: str) -> bytes:
        """Ask, and wait for the whole answer: its body."""
        [stream_id] = self.ask(path)
        while stream_id not in self.ended:
            self.listen()
        return self.bodies[stream_id]

    def listen(self) -> None:
        """Wait for one piece of what the server says, and take it."""
        data = self._sock.recv(RECEIVE_BYTES)
        assert data, "the server closed the connection"
        for event in self._h2.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                self.bodies[event.stream_id] = b""
            elif isinstance(event, h2.events.DataReceived):
                self.bodies[event.stream_id] += event.data
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                self.ended.add(event.stream_id)
        self._say()

    def _say(self) -> None:
        if data := self._h2.data_to_send():
            self._sock.sendall(data)
