"""The codec as its caller sees it: what it gives, what it keeps, requests one after the other (RFC 9112 §9.3.2)."""

import pytest

from tests.helpers.wire_feeding import ENGINES, accepted, read_every_way, request
from trioserve._errors import PeerError
from trioserve._protocol import Http1Codec, Http1Limits, ParseFields, RequestHead
from trioserve._protocol.http1.chunked_body import CHUNKS_AT_ONCE

pytestmark = pytest.mark.parametrize("engine", ENGINES)

POST = b"POST / HTTP/1.1"
HOST = (b"host", b"a")


@pytest.fixture
def codec(engine: ParseFields) -> Http1Codec:
    return Http1Codec(engine, Http1Limits())


def head_of(codec: Http1Codec, wire: bytes) -> RequestHead:
    codec.receive_data(wire)
    head = codec.next_head()
    assert head is not None
    return head


# -- one request -------------------------------------------------------------------------------------------------------


def test_a_fresh_codec_waits(codec: Http1Codec) -> None:
    assert codec.next_head() is None
    assert (codec.take_body(), codec.body_complete, codec.body_remaining, codec.trailing_data) == (b"", True, 0, b"")


def test_without_a_body_it_is_complete_with_the_head(codec: Http1Codec) -> None:
    head_of(codec, request())
    assert (codec.take_body(), codec.body_complete, codec.body_remaining, codec.trailing_data) == (b"", True, 0, b"")


def test_body_with_length_counts_down(codec: Http1Codec) -> None:
    head_of(codec, request(b"Content-Length: 5", line=POST, body=b"he"))
    assert (codec.body_complete, codec.body_remaining) == (False, 5)
    assert codec.take_body() == b"he"
    assert (codec.body_complete, codec.body_remaining) == (False, 3)
    assert codec.take_body() == b""
    codec.receive_data(b"llo and more")
    assert codec.take_body() == b"llo"
    assert (codec.body_complete, codec.body_remaining, codec.trailing_data) == (True, 0, b" and more")
    assert codec.take_body() == b""
    assert codec.trailing_data == b" and more"


def test_chunked_body_ends_when_it_ends(codec: Http1Codec) -> None:
    head_of(codec, request(b"Transfer-Encoding: chunked", line=POST, body=b"3\r\nab"))
    assert (codec.body_complete, codec.body_remaining) == (False, None)
    assert codec.take_body() == b"ab"
    codec.receive_data(b"c\r\n0\r\n")
    assert (codec.take_body(), codec.body_complete, codec.body_remaining) == (b"c", False, None)
    codec.receive_data(b"\r\nand more")
    assert (codec.take_body(), codec.body_complete, codec.body_remaining) == (b"", True, 0)
    assert codec.trailing_data == b"and more"


def test_chunks_that_are_there_come_together(codec: Http1Codec) -> None:
    head_of(codec, request(b"Transfer-Encoding: chunked", line=POST, body=b"1\r\na\r\n2\r\nbc\r\n3\r\nde"))
    assert codec.take_body() == b"abcde"


@pytest.mark.parametrize("received", [1, 2, 3])
def test_many_chunks_are_taken_in_several_calls(codec: Http1Codec, received: int) -> None:
    """What a client sends in many small chunks costs one call no more than a fixed amount of work."""
    body = bytes(index % 251 for index in range(10 * CHUNKS_AT_ONCE))
    wire = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\nGET"
    head_of(codec, request(b"Transfer-Encoding: chunked", line=POST))
    assert not codec.body_pending
    taken: list[bytes] = []
    step = -(-len(wire) // received)
    for start in range(0, len(wire), step):
        codec.receive_data(wire[start : start + step])
        taken.append(codec.take_body())
        while codec.body_pending:
            assert taken[-1] and not codec.body_complete
            taken.append(codec.take_body())
    assert max(map(len, taken)) == CHUNKS_AT_ONCE
    assert b"".join(taken) == body
    assert (codec.body_complete, codec.body_pending, codec.trailing_data) == (True, False, b"GET")


@pytest.mark.parametrize("rest", [b"", b"1\r\n", b"0\r\n\r\n"])
def test_something_is_pending_only_when_something_is_there(codec: Http1Codec, rest: bytes) -> None:
    chunks = CHUNKS_AT_ONCE * b"1\r\na\r\n"
    head_of(codec, request(b"Transfer-Encoding: chunked", line=POST, body=chunks + rest))
    assert codec.take_body() == CHUNKS_AT_ONCE * b"a"
    assert (codec.body_pending, codec.body_complete, codec.trailing_data) == (rest != b"", False, rest)
    assert codec.take_body() == b""
    assert (codec.body_pending, codec.body_complete) == (False, rest.startswith(b"0"))


def test_large_chunks_are_taken_at_once_however_many_bytes(codec: Http1Codec) -> None:
    chunk = b"10000\r\n" + 0x10000 * b"x" + b"\r\n"
    head_of(codec, request(b"Transfer-Encoding: chunked", line=POST, body=64 * chunk))
    assert (len(codec.take_body()), codec.body_pending, codec.trailing_data) == (64 * 0x10000, False, b"")


def test_a_body_with_length_is_never_pending(codec: Http1Codec) -> None:
    head_of(codec, request(b"Content-Length: 5", line=POST, body=b"he"))
    assert (codec.take_body(), codec.body_pending) == (b"he", False)


def test_a_large_body_passes_without_being_kept(codec: Http1Codec) -> None:
    piece = 1000 * b"x"
    head_of(codec, request(b"Content-Length: 1000000", line=POST))
    for _ in range(1000):
        codec.receive_data(piece)
        assert codec.take_body() is piece
        assert codec.trailing_data == b""
    assert codec.body_complete


def test_repr_names_the_request(codec: Http1Codec) -> None:
    assert repr(head_of(codec, request(line=b"GET /a?b HTTP/1.0"))) == "<RequestHead GET b'/a?b' HTTP/1.0>"


def test_a_refusal_has_a_status_and_a_reason_that_does_not_quote_the_request(codec: Http1Codec) -> None:
    codec.receive_data(request(b"Secret word: hush"))
    with pytest.raises(PeerError) as refusal:
        codec.next_head()
    assert refusal.value.status == 400
    assert str(refusal.value) == f"400: {refusal.value.reason}"
    assert "hush" not in str(refusal.value) and "Secret" not in str(refusal.value)


# -- §9.3.2 pipelining -------------------------------------------------------------------------------------------------


MIXED = [
    (request(line=b"GET /1 HTTP/1.1"), ("GET", "/1", b"")),
    (request(b"Content-Length: 3", line=b"PUT /2 HTTP/1.1", body=b"abc"), ("PUT", "/2", b"abc")),
    (request(b"Transfer-Encoding: chunked", line=b"POST /3 HTTP/1.1", body=b"2\r\nde\r\n0\r\nX: y\r\n\r\n"),
     ("POST", "/3", b"de")),
    (request(line=b"OPTIONS * HTTP/1.1"), ("OPTIONS", "*", b"")),
    (request(b"Content-Length: 0", line=b"POST /5 HTTP/1.1"), ("POST", "/5", b"")),
    (request(line=b"GET http://b/6 HTTP/1.1"), ("GET", "/6", b"")),
    (request(line=b"HEAD /7 HTTP/1.0", host=None), ("HEAD", "/7", b"")),
]  # fmt: skip


def test_9_3_2_requests_one_after_the_other(engine: ParseFields) -> None:
    wire = b"".join(wire for wire, _ in MIXED)
    assert accepted(engine, wire).requests == [expected for _, expected in MIXED]


@pytest.mark.parametrize("first", MIXED, ids=lambda mixed: mixed[1][1])
@pytest.mark.parametrize("second", MIXED, ids=lambda mixed: mixed[1][1])
def test_9_3_2_each_after_each(
    engine: ParseFields, first: tuple[bytes, tuple[str, str, bytes]], second: tuple[bytes, tuple[str, str, bytes]]
) -> None:
    assert accepted(engine, first[0] + second[0] + first[0]).requests == [first[1], second[1], first[1]]


def test_9_3_2_what_comes_before_a_refusal_is_served(engine: ParseFields) -> None:
    reading = read_every_way(engine, MIXED[0][0] + MIXED[1][0] + request(b"X : y") + MIXED[0][0])
    assert (reading.requests, reading.refused) == ([MIXED[0][1], MIXED[1][1]], 400)


def test_a_head_that_is_repeated_is_framed_each_time(codec: Http1Codec) -> None:
    text = b"POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"
    for body in (b"abc", b"def", b"ghi"):
        codec.receive_data(text + body[:1])
        head = codec.next_head()
        assert head is not None
        assert (head.method, head.path, head.query_string, codec.body_complete) == ("POST", "/a", b"b", False)
        codec.receive_data(body[1:])
        assert (codec.take_body(), codec.body_complete, codec.trailing_data) == (body, True, b"")


def test_a_head_that_begins_like_the_last_one_is_another(codec: Http1Codec) -> None:
    codec.receive_data(request(b"X: a") + request(b"X: a", b"Y: b"))
    first, second = codec.next_head(), codec.next_head()
    assert first is not None and second is not None
    assert (first.headers, second.headers) == ([HOST, (b"x", b"a")], [HOST, (b"x", b"a"), (b"y", b"b")])


def test_an_empty_line_is_forgiven_before_a_repeated_head_too(codec: Http1Codec) -> None:
    codec.receive_data(request() + b"\r\n" + request() + b"\r\n\r\n" + request())
    assert codec.next_head() is not None
    assert codec.next_head() is not None
    with pytest.raises(PeerError):
        codec.next_head()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(b"X: a", b"X: b", id="value"),
        pytest.param(b"X: a", b"x: a", id="case of a name"),
        pytest.param(b"Connection: close", b"Connection: close ", id="white space"),
        pytest.param(b"Content-Length: 0", b"Content-Length: 1", id="length"),
    ],
)
def test_fields_are_the_requests_own_however_alike(engine: ParseFields, first: bytes, second: bytes) -> None:
    lines = [first, second, first, second]
    wire = b"".join(request(line, body=b"x" if line.endswith(b"1") else b"") for line in lines)
    readings = [accepted(engine, request(line, body=b"x" if line.endswith(b"1") else b"")) for line in lines]
    reading = accepted(engine, wire)
    assert reading.heads == [alone.heads[0] for alone in readings]
    assert reading.bodies == [alone.bodies[0] for alone in readings]


def test_fields_larger_than_a_codec_remembers(engine: ParseFields) -> None:
    large = request(b"Cookie: " + 1500 * b"c")
    codec = Http1Codec(engine, Http1Limits())
    for _ in range(3):
        assert head_of(codec, large).headers[1] == (b"cookie", 1500 * b"c")


def test_body_limit_counts_for_each_request(engine: ParseFields) -> None:
    wire = request(b"Transfer-Encoding: chunked", line=POST, body=b"3\r\nabc\r\n0\r\n\r\n")
    assert accepted(engine, 4 * wire, Http1Limits(body=3)).complete == 4
