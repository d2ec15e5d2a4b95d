"""A client of HTTP/2 in memory, on h2: what it is told to do, and what came back on each stream."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
from hyperframe.frame import Frame, GoAwayFrame

from tests.helpers.serving import Site
from trioserve._streams.memory import MemoryClient
from trioserve.testing import settled

__all__ = ["Answer", "Http2Client", "http2_client"]

Fields = Iterable[tuple[bytes, bytes]]


class _Connection(h2.connection.H2Connection):
    """h2 takes a GOAWAY for the end of all streams."""

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[h2.events.Event]]:
        event = h2.events.ConnectionTerminated()
        event.last_stream_id, event.error_code = frame.last_stream_id, frame.error_code
        return [], [event]


@dataclass
class Answer:
    """What has come on one stream."""

    status: int | None = None
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    interim: list[tuple[bytes, bytes]] = field(default_factory=list)
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    ended: bool = False
    reset: int | None = None

    @property
    def is_over(self) -> bool:
        return self.ended or self.reset is not None


class Http2Client:
    """Acknowledges what it receives, unless ``takes_bodies`` is switched off.

    Attributes:
        answers: by the number of the stream.
        goaways: last stream and code of each GOAWAY.
        pongs: answers to pings.
    """

    def __init__(self, stream: MemoryClient, settings: dict[int, int] | None = None) -> None:
        self.stream = stream
        self.h2 = _Connection(
            h2.config.H2Configuration(client_side=True, header_encoding=None, validate_outbound_headers=False,
                                      normalize_outbound_headers=False))
        self.answers: dict[int, Answer] = {}
        self.goaways: list[tuple[int, int]] = []
        self.pongs = 0
        self.takes_bodies = True
        self.has_ended = False
        self.h2.initiate_connection()
        if settings:
            self.h2.update_settings(dict(settings))

    async def say(self) -> None:
        """Send what h2 has to say."""
        await self.stream.send_all(self.h2.data_to_send())

    async def listen(self) -> None:
        """One piece of what the server says."""
        data = await self.stream.receive_some()
        if not data:
            self.has_ended = True
            return
        self.hear(data)
        await self.say()

    def hear(self, data: bytes) -> None:
        """Note what the server has said, and say nothing to it."""
        for event in self.h2.receive_data(data):
            self._note(event)

    def _note(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ConnectionTerminated):
            self.goaways.append((event.last_stream_id or 0, int(event.error_code or 0)))
        elif isinstance(event, h2.events.PingAckReceived):
            self.pongs += 1
        stream_id = getattr(event, "stream_id", None)
        if not stream_id:
            return
        answer = self.answers.setdefault(stream_id, Answer())
        if isinstance(event, h2.events.ResponseReceived):
            answer.fields = list(event.headers)
            answer.status = int(dict(event.headers)[b":status"])
        elif isinstance(event, h2.events.InformationalResponseReceived):
            answer.interim += event.headers
        elif isinstance(event, h2.events.TrailersReceived):
            answer.trailers = list(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data
            if self.takes_bodies:
                self.h2.acknowledge_received_data(event.flow_controlled_length, stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            answer.ended = True
        elif isinstance(event, h2.events.StreamReset):
            answer.reset = int(event.error_code)

    async def ask(
        self, path: str = "/", *, method: bytes = b"GET", fields: Fields = (), ends: bool = True, protocol: bytes = b"",
    ) -> int:  # fmt: skip
        """Send a request's head; returns its stream."""
        stream_id = self.prepare(path, method=method, fields=fields, ends=ends, protocol=protocol)
        await self.say()
        return stream_id

    def prepare(
        self, path: str = "/", *, method: bytes = b"GET", fields: Fields = (), ends: bool = True, protocol: bytes = b"",
    ) -> int:  # fmt: skip
        """A request's head that will be sent with what is said next; returns its stream."""
        stream_id = self.h2.get_next_available_stream_id()
        head = [(b":method", method), (b":scheme", b"http"), (b":authority", b"a"), (b":path", path.encode())]
        if protocol:
            head.append((b":protocol", protocol))
        self.h2.send_headers(stream_id, [*head, *fields], end_stream=ends)
        self.answers[stream_id] = Answer()
        return stream_id

    async def send(self, stream_id: int, data: bytes, *, ends: bool = False) -> None:
        """A part of a request's body, as windows allow."""
        while data:
            room = min(self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size)
            if room:
                self.h2.send_data(stream_id, data[:room])
                data = data[room:]
                await self.say()
            else:
                await self.listen()
        if ends:
            self.h2.end_stream(stream_id)
            await self.say()

    async def reset(self, stream_id: int, code: int = 8) -> None:
        self.h2.reset_stream(stream_id, code)
        await self.say()
        await settled()

    async def answer(self, stream_id: int) -> Answer:
        """The whole answer on a stream, or what there is when it is reset or the connection ends."""
        answer = self.answers[stream_id]
        while not answer.is_over and not self.has_ended:
            await self.listen()
        return answer

    async def head(self, stream_id: int) -> Answer:
        """The answer as soon as its head is there."""
        answer = self.answers[stream_id]
        while answer.status is None and not answer.is_over and not self.has_ended:
            await self.listen()
        return answer

    async def get(self, path: str = "/", *, method: bytes = b"GET", fields: Fields = ()) -> Answer:
        return await self.answer(await self.ask(path, method=method, fields=fields))

    async def post(self, body: bytes, path: str = "/", *, fields: Fields = ()) -> Answer:
        stream_id = await self.ask(path, method=b"POST", fields=fields, ends=False)
        await self.send(stream_id, body, ends=True)
        return await self.answer(stream_id)

    async def until_end(self) -> None:
        """Read until the server ends the connection."""
        while not self.has_ended:
            await self.listen()


@asynccontextmanager
async def http2_client(site: Site, settings: dict[int, int] | None = None) -> AsyncIterator[Http2Client]:
    """A connection that begins with prior knowledge (RFC 9113 §3.3), and is closed at the end of the block."""
    client = Http2Client(site.connect(), settings)
    await client.say()
    try:
        yield client
    finally:
        client.stream.abort()
