"""How large a request head may be: 414, 431 (RFC 9112 §3, RFC 9110 §5.4, RFC 6585 §5)."""

import pytest

from tests.helpers.wire_feeding import ENGINES, accepted, read_wire, refused, request
from trioserve._protocol import Http1Limits, ParseFields

pytestmark = pytest.mark.parametrize("engine", ENGINES)

LINE_LIMIT = Http1Limits(request_line=40, head=1000)
HEAD_LIMIT = Http1Limits(request_line=40, head=100)


def head_of(size: int, *, line_size: int = 20) -> bytes:
    """A whole head of ``size`` bytes."""
    line = b"GET /" + b"a" * (line_size - 14) + b" HTTP/1.1"
    return request(b"X: " + b"x" * (size - line_size - 18), line=line)


@pytest.mark.parametrize(("line_size", "status"), [(20, None), (39, None), (40, None), (41, 414), (60, 414)])
def test_9112_3_request_line(engine: ParseFields, line_size: int, status: int | None) -> None:
    assert refused(engine, head_of(200, line_size=line_size), LINE_LIMIT) == status


def test_9112_3_request_line_after_an_empty_line(engine: ParseFields) -> None:
    assert accepted(engine, b"\r\n" + head_of(200, line_size=40), LINE_LIMIT).complete == 1


def test_9112_3_request_line_in_absolute_form(engine: ParseFields) -> None:
    for size, status in ((40, None), (41, 414)):
        line = b"GET http://a/" + b"a" * (size - 22) + b" HTTP/1.1"
        assert refused(engine, request(line=line), LINE_LIMIT) == status


@pytest.mark.parametrize(("size", "status"), [(99, None), (100, None), (101, 431), (200, 431)])
def test_9110_5_4_head(engine: ParseFields, size: int, status: int | None) -> None:
    wire = head_of(size)
    assert len(wire) == size
    assert refused(engine, wire, HEAD_LIMIT) == status


def test_9110_5_4_the_head_is_counted_alone(engine: ParseFields) -> None:
    post = request(b"Content-Length: 200", line=b"POST / HTTP/1.1", body=b"x" * 200)
    assert accepted(engine, head_of(100) + post + b"\r\n" + head_of(100), HEAD_LIMIT).complete == 3


def test_9110_5_4_a_head_smaller_than_a_line_may_be(engine: ParseFields) -> None:
    limits = Http1Limits(request_line=100, head=50)
    assert refused(engine, head_of(50), limits) is None
    assert refused(engine, head_of(51), limits) == 431


@pytest.mark.parametrize(("fields", "status"), [(1, None), (5, None), (6, 431), (20, 431)])
def test_6585_5_number_of_fields(engine: ParseFields, fields: int, status: int | None) -> None:
    wire = request(*((fields - 1) * [b"X: y"]))
    assert refused(engine, wire, Http1Limits(fields=5)) == status
    assert refused(engine, wire.replace(b"/", b"*", 1).replace(b"GET", b"OPTIONS"), Http1Limits(fields=5)) == status


@pytest.mark.parametrize(
    ("field", "status"),
    [
        pytest.param(b"Host: b", 431, id="two hosts"),
        pytest.param(b"Transfer-Encoding: gzip", 431, id="unknown coding"),
        pytest.param(b"X : y", 400, id="no field line"),
        pytest.param(b"X: \0", 400, id="control character"),
    ],
)
def test_6585_5_too_many_fields_among_other_faults(engine: ParseFields, field: bytes, status: int) -> None:
    """Every engine names the same fault first."""
    assert refused(engine, request(field, *(5 * [b"X: y"])), Http1Limits(fields=5)) == status


def test_the_defaults(engine: ParseFields) -> None:
    assert read_wire(engine, [request(line=b"GET /" + 16_370 * b"a" + b" HTTP/1.1")]).refused is None
    assert read_wire(engine, [request(line=b"GET /" + 16_371 * b"a" + b" HTTP/1.1")]).refused == 414
    assert read_wire(engine, [head_of(65_536)]).refused is None
    assert read_wire(engine, [head_of(65_537)]).refused == 431
    assert read_wire(engine, [request(*(99 * [b"X: y"]))]).refused is None
    assert read_wire(engine, [request(*(100 * [b"X: y"]))]).refused == 431


# -- early refusal -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "status"),
    [
        pytest.param(b"\x16\x03\x01", 400, id="TLS"),
        pytest.param(b"\x80", 400, id="not ASCII"),
        pytest.param(b"get", None, id="lower case"),
        pytest.param(b"a\x16\x03", 400, id="no token"),
        pytest.param(b"a\x80", 400, id="no token, not ASCII"),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r", 400, id="another protocol"),
        pytest.param(b"GET\r", 400, id="line without a target"),
        pytest.param(b" ", 400, id="space"),
        pytest.param(b"\n", 400, id="LF"),
        pytest.param(b"\r\n\r", 400, id="a second empty line"),
        pytest.param(b"\r\n\r\n", 400, id="only empty lines"),
        pytest.param(b"|", None, id="what a token may start with"),
        pytest.param(b"GET / HTTP/1.1\n", 400, id="line ends in LF"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\n", 400, id="field ends in LF"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\n\n", 400, id="head ends in LF LF"),
        pytest.param(b"GET /" + b"a" * 35, None, id="line as long as it may be"),
        pytest.param(b"GET /" + b"a" * 36, 414, id="line too long"),
        pytest.param(b"GET / HTTP/1.1\r\nX: ".ljust(100, b"x"), None, id="head as long as it may be"),
        pytest.param(b"GET / HTTP/1.1\r\nX: ".ljust(101, b"x"), 431, id="head too long"),
    ],
)
def test_what_cannot_become_a_request_is_refused_before_it_is_complete(
    engine: ParseFields, start: bytes, status: int | None
) -> None:
    assert refused(engine, start, HEAD_LIMIT) == status


@pytest.mark.parametrize("start", [b"G", b"GET", b"GET /", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r"])
def test_what_can_become_one_waits(engine: ParseFields, start: bytes) -> None:
    assert accepted(engine, start).leftover == start


def test_what_a_codec_holds_is_bounded(engine: ParseFields) -> None:
    """Whatever comes: the head that is not whole, or a trailer section, and one feeding."""
    for start in (b"", b"GET /", b"GET / HTTP/1.1\r\nX: ", request(b"Transfer-Encoding: chunked") + b"0\r\nX: "):
        reading = read_wire(engine, [start, *(1000 * [1000 * b"A"])])
        assert reading.refused in (414, 431)
        assert reading.most_held <= 64 * 1024 + 1000
