"""Heads that all connections of a server remember: nobody can tell, and nothing secret is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.wire_feeding import ENGINES, REFERENCE_ENGINE, Reading, facts, request
from tests.helpers.wire_strategies import arbitrary_wires, framing_wires, mutated_wires, sent_requests
from trioserve._errors import PeerError
from trioserve._protocol import HeadMemory, Http1Codec, Http1Limits, ParseFields, RequestHead
from trioserve._protocol.http1.head_memory import REMEMBERED_BYTES

GET = request(b"Accept: */*")


class CountingEngine:
    """Reads as the reference does, and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, head: bytes) -> list[tuple[bytes, bytes]]:
        self.calls += 1
        return REFERENCE_ENGINE(head)


@pytest.fixture
def engine() -> CountingEngine:
    return CountingEngine()


@pytest.fixture
def memory() -> HeadMemory:
    return HeadMemory()


def connect(engine: ParseFields, memory: HeadMemory | None, limits: Http1Limits | None = None) -> Http1Codec:
    return Http1Codec(engine, limits or Http1Limits(), memory)


def head_of(codec: Http1Codec, wire: bytes) -> RequestHead:
    codec.receive_data(wire)
    head = codec.next_head()
    assert head is not None
    return head


def keep(wire: bytes, engine: ParseFields, memory: HeadMemory) -> None:
    for _ in range(2):
        head_of(connect(engine, memory), wire)


# -- what is kept ------------------------------------------------------------------------------------------------------


def test_what_was_said_twice_need_not_be_parsed_again(engine: CountingEngine, memory: HeadMemory) -> None:
    read = [head_of(connect(engine, memory), GET) for _ in range(4)]
    assert engine.calls == 2
    assert read[2] is read[3]
    assert facts(read[2]) == facts(read[0])
    head_of(connect(engine, HeadMemory()), GET)  # of another server
    assert engine.calls == 3


def test_whatever_its_place_on_a_connection(engine: CountingEngine, memory: HeadMemory) -> None:
    codec = connect(engine, memory)
    for path in (b"/a", b"/b", b"/a", b"/b", b"/a", b"/b"):
        assert head_of(codec, request(line=b"GET %b HTTP/1.1" % path)).raw_path == path
    assert engine.calls == 4


def test_only_heads_that_are_kept_may_have_an_answer_that_is(engine: CountingEngine, memory: HeadMemory) -> None:
    assert [head_of(connect(engine, memory), GET).answer for _ in range(3)] == [None, (), ()]


@pytest.mark.parametrize(
    "field",
    [
        b"Cookie: a=b", b"COOKIE: a=b", b"Authorization: Basic YTpi", b"Proxy-Authorization: Basic YTpi",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ],
)  # fmt: skip
def test_what_is_one_clients_own_is_not_kept(field: bytes, engine: CountingEngine, memory: HeadMemory) -> None:
    codec = connect(engine, memory)
    for _ in range(3):
        head_of(codec, request(field))
    assert engine.calls == 3
    assert not memory._heads


@pytest.mark.parametrize(("surplus", "kept"), [(0, True), (1, False)])
def test_large_heads_are_not_kept(surplus: int, kept: bool, engine: CountingEngine, memory: HeadMemory) -> None:
    wire = request(b"X: " + b"x" * (REMEMBERED_BYTES + surplus - len(request(b"X: "))))
    assert len(wire) == REMEMBERED_BYTES + surplus
    for _ in range(2):
        head_of(connect(engine, memory), wire)
    assert (wire in memory._heads) == kept


def test_heads_that_differ_without_end_fill_no_memory(engine: CountingEngine, memory: HeadMemory) -> None:
    for number in range(3000):
        for _ in range(2):
            head_of(connect(engine, memory), request(line=b"GET /%d HTTP/1.1" % number))
        assert len(memory._heads) <= 256
        assert len(memory._seen) <= 1024
    calls = engine.calls
    head_of(connect(engine, memory), request(line=b"GET /2999 HTTP/1.1"))
    assert engine.calls == calls


def test_a_head_that_is_refused_is_not_kept(engine: CountingEngine, memory: HeadMemory) -> None:
    wire = b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"
    for _ in range(3):
        with pytest.raises(PeerError):
            head_of(connect(engine, memory), wire)
    assert not memory._heads


# -- what is recalled --------------------------------------------------------------------------------------------------


def test_a_recalled_head_comes_with_its_own_body(engine: CountingEngine, memory: HeadMemory) -> None:
    wire = request(b"Content-Length: 3", line=b"POST / HTTP/1.1")
    for body in (b"one", b"two", b"six", b"ten"):
        codec = connect(engine, memory)
        head_of(codec, wire + body + b"GET")
        assert (codec.take_body(), codec.body_complete, codec.trailing_data) == (body, True, b"GET")
    assert engine.calls == 2


def test_limits_hold_for_a_recalled_head(engine: CountingEngine, memory: HeadMemory) -> None:
    wire = request(b"Content-Length: 11", line=b"POST / HTTP/1.1")
    for _ in range(3):
        with pytest.raises(PeerError) as refused:
            head_of(connect(engine, memory, Http1Limits(body=10)), wire)
        assert refused.value.status == 413


def test_a_chunked_body_of_a_recalled_head_has_its_limit(engine: CountingEngine, memory: HeadMemory) -> None:
    wire = request(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.1")
    for _ in range(3):
        codec = connect(engine, memory, Http1Limits(body=10))
        head_of(codec, wire + b"b\r\n12345678901\r\n0\r\n\r\n")
        with pytest.raises(PeerError) as refused:
            codec.take_body()
        assert refused.value.status == 413
    assert engine.calls == 2


def test_heads_that_begin_alike_are_not_the_same(engine: CountingEngine, memory: HeadMemory) -> None:
    for path in (b"/a", b"/ab", b"/a", b"/"):
        assert head_of(connect(engine, memory), request(line=b"GET %b HTTP/1.1" % path)).raw_path == path


def test_pipelined_after_a_recalled_head(engine: CountingEngine, memory: HeadMemory) -> None:
    keep(GET, engine, memory)
    codec = connect(engine, memory)
    codec.receive_data(GET + GET + request(line=b"GET /other HTTP/1.1") + GET)
    paths = [head.raw_path for head in iter(codec.next_head, None)]
    assert paths == [b"/", b"/", b"/other", b"/"]


def test_byte_by_byte(engine: CountingEngine, memory: HeadMemory) -> None:
    keep(GET, engine, memory)
    codec = connect(engine, memory)
    for index in range(len(GET) - 1):
        codec.receive_data(GET[index : index + 1])
        assert codec.next_head() is None
    assert head_of(codec, GET[-1:]).raw_path == b"/"
    assert engine.calls == 2


def test_after_an_empty_line(engine: CountingEngine, memory: HeadMemory) -> None:  # RFC 9112 §2.2
    keep(GET, engine, memory)
    assert head_of(connect(engine, memory), b"\r\n" + GET).raw_path == b"/"
    with pytest.raises(PeerError):
        head_of(connect(engine, memory), b"\r\n\r\n" + GET)


# -- nobody can tell ---------------------------------------------------------------------------------------------------


def reading(engine: ParseFields, memory: HeadMemory | None, pieces: list[bytes], limits: Http1Limits) -> Reading:
    """All that one connection says, its codec with this memory."""
    codec, made = connect(engine, memory, limits), Reading()
    try:
        for piece in pieces:
            codec.receive_data(piece)
            while True:
                if codec.body_complete:
                    if (head := codec.next_head()) is None:
                        break
                    made.heads.append(facts(head))
                    made.bodies.append(b"")
                made.bodies[-1] += codec.take_body()
                if codec.body_complete:
                    made.complete += 1
                elif not codec.body_pending:
                    break
    except PeerError as error:
        made.refused, made.reason = error.status, error.reason
    made.leftover = codec.trailing_data
    return made


wires = st.one_of(arbitrary_wires(), framing_wires(), mutated_wires(), sent_requests().map(lambda sent: sent.wire))


@pytest.mark.parametrize("parse_fields", ENGINES)
@given(connections=st.lists(wires, min_size=1, max_size=4), repeated=st.integers(2, 3), cut=st.integers(1, 50))
def test_with_and_without_memory(
    parse_fields: ParseFields, connections: list[bytes], repeated: int, cut: int
) -> None:
    memory, limits = HeadMemory(), Http1Limits(body=100, head=400, request_line=200, fields=10)
    for _ in range(repeated):
        for wire in connections:
            for pieces in ([wire], [wire[:cut], wire[cut:]], [wire + wire]):
                alone = reading(parse_fields, HeadMemory(), pieces, limits)
                assert reading(parse_fields, memory, pieces, limits) == alone


