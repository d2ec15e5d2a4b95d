"""Both engines behind one seam tell the same of the same bytes, and of mutated bytes nothing worse than an error."""

import random
from typing import Any

import h2.config
import h2.connection
import pytest
from hpack import Decoder

from trioserve._protocol import Http1Limits
from trioserve._protocol.http2.codec import Http2Codec
from trioserve._protocol.http2.engine import NewEngine
from trioserve._protocol.http2.engine_h2 import H2Engine
from trioserve._protocol.http2.engine_ngh2 import Ngh2Engine
from trioserve._protocol.http2.frames import NO_ERROR, Http2Error
from trioserve._protocol.http2.guard import Allowance
from trioserve._types import Fields

ENGINES: list[NewEngine] = [Ngh2Engine, H2Engine]
FIELDS: Fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")]


class Told:
    """What an engine has told; requests are answered at once, bodies acknowledged."""

    def __init__(self, new_engine: NewEngine, *, answers: bool = True) -> None:
        self.codec = Http2Codec(
            new_engine, Http1Limits(), max_streams=10, tunnels=True, resets=Allowance(None, 1, 0),
            control=Allowance(None, 1, 0))
        self.events: list[Any] = []
        self.open: set[int] = set()
        self._answers = answers

    def receive(self, data: bytes) -> None:
        self.codec.receive_data(data, 0.0, self)

    def on_request(self, stream_id: int, fields: Fields, ends: bool) -> None:
        self.events.append(("request", stream_id, [tuple(field) for field in fields], ends))
        self.open.add(stream_id)
        if self._answers:
            self.codec.engine.send_response(stream_id, [(b":status", b"200")])
            self.codec.engine.send_data(stream_id, b"x" * 10, end_stream=True)

    def on_body(self, stream_id: int, data: bytes, ends: bool) -> None:
        self.events.append(("body", stream_id, data, ends))
        self.codec.engine.acknowledge_received_data(len(data), stream_id)

    def on_reset(self, stream_id: int, *, provoked: bool) -> None:
        self.events.append(("reset", stream_id, provoked))
        self.open.discard(stream_id)

    def on_pong(self) -> None:
        self.events.append(("pong",))

    def is_open(self, stream_id: int) -> bool:
        return stream_id in self.open


def client() -> h2.connection.H2Connection:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
    connection.initiate_connection()
    return connection


def conversation(chance: random.Random) -> bytes:
    """What a client may say in one go."""
    connection = client()
    streams: list[int] = []
    for _ in range(chance.randint(1, 12)):
        if not streams or chance.random() < 0.4:
            stream_id = connection.get_next_available_stream_id()
            more = [(b"x-%d" % number, bytes(chance.choices(b"abc", k=20))) for number in range(chance.randint(0, 5))]
            ends = chance.random() < 0.5
            connection.send_headers(stream_id, FIELDS + more, end_stream=ends)
            if not ends:
                streams.append(stream_id)
            continue
        stream_id = chance.choice(streams)
        deed = chance.choice(["data", "last data", "trailers", "reset", "ping", "window"])
        if deed == "ping":
            connection.ping(b"12345678")
        elif deed == "window":
            connection.increment_flow_control_window(chance.randint(1, 1000), stream_id)
        elif deed == "data":
            connection.send_data(stream_id, b"d" * chance.randint(0, 500), pad_length=chance.choice([None, 0, 9]))
        else:
            streams.remove(stream_id)
            if deed == "reset":
                connection.reset_stream(stream_id, 8)
            elif deed == "trailers":
                connection.send_headers(stream_id, [(b"x-sum", b"1")], end_stream=True)
            else:
                connection.send_data(stream_id, b"end", end_stream=True)
    return connection.data_to_send()


@pytest.mark.parametrize("seed", range(100))
def test_both_tell_the_same(seed: int) -> None:
    said = conversation(random.Random(seed))
    told = []
    for new_engine in ENGINES:
        for piece in (len(said), 13):
            listener = Told(new_engine, answers=False)
            for start in range(0, len(said), piece):
                listener.receive(said[start : start + piece])
            told.append(in_whole_bodies(listener.events))
    assert told[0] == told[1] == told[2] == told[3]


def in_whole_bodies(events: list[Any]) -> list[Any]:
    """How many pieces a body comes in is nobody's affair."""
    bodies: dict[int, bytes] = {}
    others = []
    for event in events:
        if event[0] == "body":
            bodies[event[1]] = bodies.get(event[1], b"") + event[2]
            if event[3]:
                others.append(("end", event[1]))
        else:
            others.append(event)
    gone = {event[1] for event in others if event[0] == "reset"}  # they may be told of the request, or not
    return [{stream: body for stream, body in bodies.items() if stream not in gone},
            [event for event in others if event[0] == "pong" or event[1] not in gone]]


@pytest.mark.parametrize("new_engine", ENGINES)
@pytest.mark.parametrize("seed", range(150))
def test_mutated_bytes_are_an_error_at_worst(new_engine: NewEngine, seed: int) -> None:
    chance = random.Random(seed)
    said = bytearray(conversation(chance))
    for _ in range(chance.randint(1, 4)):
        position = chance.randrange(24, len(said))
        deed = chance.choice(["change", "remove", "repeat"])
        if deed == "change":
            said[position] = chance.randrange(256)
        elif deed == "remove":
            del said[position : position + chance.randint(1, 9)]
        else:
            said[position:position] = said[position : position + chance.randint(1, 30)]
        if len(said) <= 24:
            break
    listener = Told(new_engine)
    try:
        for start in range(0, len(said), 50):
            listener.receive(bytes(said[start : start + 50]))
            while listener.codec.engine.data_to_send(10_000):
                pass
            if listener.codec.engine.is_over:
                break
    except Http2Error as exc:
        assert exc.code != NO_ERROR


@pytest.mark.parametrize("new_engine", ENGINES)
def test_what_is_queued_waits_for_its_window(new_engine: NewEngine) -> None:
    listener = Told(new_engine, answers=False)
    connection = client()
    connection.send_headers(1, FIELDS, end_stream=True)
    listener.receive(connection.data_to_send())
    engine = listener.codec.engine
    engine.send_response(1, [(b":status", b"200")])
    engine.send_data(1, bytes(70_000), end_stream=True)
    assert engine.queued_body_size(1) == 70_000
    while data := engine.data_to_send(10_000):
        assert len(data) <= 10_000
    assert engine.queued_body_size(1) == 70_000 - 65_535
    assert engine.stream_remote_window_size(1) <= 0
    engine.reset_stream(1, 8)
    engine.data_to_send(10_000)
    assert engine.queued_body_size(1) == 0


@pytest.mark.parametrize("new_engine", ENGINES)
def test_a_table_of_fields_stays_small(new_engine: NewEngine) -> None:  # RFC 7541 §4.2, RFC 9113 §6.5.2
    """Whatever the client allows: it is our memory."""
    listener = Told(new_engine, answers=False)
    connection = client()
    connection.update_settings({1: 2**31 - 1})
    decoder = Decoder()  # of 4 KiB, which raises when more is announced
    for number in range(200):
        stream_id = connection.get_next_available_stream_id()
        connection.send_headers(stream_id, FIELDS, end_stream=True)
        listener.receive(connection.data_to_send())
        listener.codec.engine.data_to_send(65536)
        listener.codec.engine.send_response(
            stream_id, [(b":status", b"200"), (b"x-new", b"%d" % number * 50)], end_stream=True)
        decoder.decode(listener.codec.engine.data_to_send(65536)[9:])
