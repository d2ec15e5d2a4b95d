"""Both engines behind one seam tell the same of the same bytes, and of mutated bytes nothing worse than an error."""

import random
from typing import Any

import h2.config
import h2.connection
import pytest
from h2.events import ResponseReceived, StreamEnded, TrailersReceived
from hpack import Decoder

from tests.helpers.http2_transcript import GOAWAY, split_frames
from trioserve._protocol import Http1Limits
from trioserve._protocol.http2.codec import Http2Codec
from trioserve._protocol.http2.engine import NewEngine
from trioserve._protocol.http2.engine_h2 import PRIORITY_UPDATE, H2Engine
from trioserve._protocol.http2.engine_ngh2 import Ngh2Engine
from trioserve._protocol.http2.frames import NO_ERROR, PROTOCOL_ERROR, SETTINGS, Http2Error, settings_frame
from trioserve._protocol.http2.guard import Allowance
from trioserve._types import Fields

HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE = 1, 4
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

    def is_answered(self, stream_id: int) -> bool:
        return self._answers


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
def test_a_malformed_request_whose_reset_has_not_left_yet(new_engine: NewEngine) -> None:  # RFC 9113 §5.1, §8.1.1
    """Its trailers come while the network is congested."""
    listener = Told(new_engine, answers=False)
    connection = client()
    connection.send_headers(1, [*FIELDS, (b"X", b"upper case")])
    listener.receive(connection.data_to_send())
    assert listener.codec.engine.holds(1)
    connection.send_headers(1, [(b"x-trailer", b"1")], end_stream=True)
    listener.receive(connection.data_to_send())
    listener.codec.engine.reset_stream(1, PROTOCOL_ERROR)
    listener.codec.engine.data_to_send(10_000)
    assert not listener.codec.engine.holds(1)


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


@pytest.mark.parametrize("new_engine", ENGINES)
@pytest.mark.parametrize("body", [0, 100, 150])
@pytest.mark.parametrize("table_bytes", [4096, 0])
def test_trailers_need_no_window(new_engine: NewEngine, body: int, table_bytes: int) -> None:  # RFC 9113 §6.9.1
    """A body of 100 bytes uses the window up; of a longer one they follow when the client has made room for it."""
    listener = Told(new_engine, answers=False)
    connection = client()
    connection.send_headers(1, FIELDS, end_stream=True)
    connection.update_settings({INITIAL_WINDOW_SIZE: 100, HEADER_TABLE_SIZE: table_bytes})
    listener.receive(connection.data_to_send())
    connection.receive_data(settings_frame({}))
    engine = listener.codec.engine
    engine.send_response(1, [(b":status", b"200"), (b"x-sum", b"1")])
    engine.send_data(1, bytes(body))
    trailers = [(b"x-sum", b"1"), (b"x-long", b"2" * 20_000)]
    engine.send_trailers(1, trailers)
    events = connection.receive_data(engine.data_to_send(100_000))
    if body > 100:
        assert not any(isinstance(event, TrailersReceived) for event in events)
        connection.increment_flow_control_window(body - 100, 1)
        listener.receive(connection.data_to_send())
        events = connection.receive_data(engine.data_to_send(100_000))
    [told] = [event for event in events if isinstance(event, TrailersReceived)]
    assert told.headers == trailers
    assert any(isinstance(event, StreamEnded) for event in events)


@pytest.mark.parametrize("new_engine", ENGINES)
def test_a_field_section_after_trailers_without_a_window(new_engine: NewEngine) -> None:
    """Both sides still have the same table of fields (RFC 7541 §2.3.2), which the client has made smaller."""
    listener = Told(new_engine, answers=False)
    connection = client()
    connection.receive_data(settings_frame({}))
    for _ in range(3):
        stream_id = connection.get_next_available_stream_id()
        connection.send_headers(stream_id, FIELDS, end_stream=True)
        connection.update_settings({INITIAL_WINDOW_SIZE: 0, HEADER_TABLE_SIZE: 2000 - 500 * stream_id % 1500})
        listener.receive(connection.data_to_send())
        engine = listener.codec.engine
        engine.send_response(stream_id, [(b":status", b"200"), (b"x-sum", b"1")])
        engine.send_trailers(stream_id, [(b"x-sum", b"2")])
        events = connection.receive_data(engine.data_to_send(100_000))
        assert [event.headers for event in events if isinstance(event, ResponseReceived | TrailersReceived)] == [
            [(b":status", b"200"), (b"x-sum", b"1")], [(b"x-sum", b"2")]]


@pytest.mark.parametrize(("value", "is_plain"), [(b"1" * 2000, False), (b"1" * 3000, True)], ids=["short", "long"])
def test_h2_sends_long_values_without_huffman_s_code(value: bytes, is_plain: bool) -> None:
    """Which would take hpack seconds for the longest."""
    listener = Told(H2Engine, answers=False)
    connection = client()
    connection.send_headers(1, FIELDS, end_stream=True)
    listener.receive(connection.data_to_send())
    connection.receive_data(settings_frame({}))
    listener.codec.engine.send_response(1, [(b":status", b"200"), (b"x-value", value)])
    sent = listener.codec.engine.data_to_send(100_000)
    assert (value in sent) is is_plain
    [answer] = [event for event in connection.receive_data(sent) if isinstance(event, ResponseReceived)]
    assert (b"x-value", value) in answer.headers


def frame(kind: int, stream_id: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, 0)) + stream_id.to_bytes(4, "big") + payload


@pytest.mark.parametrize("new_engine", ENGINES)
@pytest.mark.parametrize("wrong", [
    frame(PRIORITY_UPDATE, 0, b"\0\0\0\0u=1"), frame(PRIORITY_UPDATE, 0, b"\0\0\0\2u=1"),
    frame(PRIORITY_UPDATE, 1, b"\0\0\0\1u=1"), frame(SETTINGS, 0, b"\0\x09\0\0\0\2"),
], ids=["of stream 0", "of a stream of the server", "on a stream", "setting"])  # fmt: skip
def test_a_wrong_priority_ends_the_connection(new_engine: NewEngine, wrong: bytes) -> None:  # RFC 9218 §2.1, §7.1
    listener = Told(new_engine)
    listener.receive(client().data_to_send())
    assert breaks(listener, wrong)


def breaks(listener: Told, data: bytes) -> bool:
    """The engine tells the client so, or whoever asked it."""
    try:
        listener.receive(data)
    except Http2Error as exc:
        return exc.code == PROTOCOL_ERROR
    *_, (kind, _, _, payload) = split_frames(listener.codec.engine.data_to_send(1000))
    return listener.codec.engine.is_over and kind == GOAWAY and payload[7] == PROTOCOL_ERROR


def test_an_end_that_is_due_when_the_client_breaks_a_rule() -> None:
    """libnghttp2 has said GOAWAY, and takes nothing any more."""
    listener = Told(Ngh2Engine, answers=False)
    connection = client()
    for stream_id in (1, 3):
        connection.send_headers(stream_id, FIELDS, end_stream=True)
    listener.receive(connection.data_to_send())
    engine = listener.codec.engine
    for stream_id in (1, 3):
        engine.send_response(stream_id, [(b":status", b"200")])
    engine.send_trailers(1, [(b"x-sum", b"3")])
    engine.end_stream(3)
    listener.receive(b"\0\0\1\0\0\0\0\0\0x")  # DATA on no stream
    kinds = [kind for kind, *_ in split_frames(engine.data_to_send(10_000))]
    assert GOAWAY in kinds
    assert engine.is_over
