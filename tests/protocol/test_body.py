"""Where a request body ends: Content-Length, chunks, trailers (RFC 9112 §6, §7)."""

import pytest

from tests.helpers.wire_feeding import ENGINES, accepted, only_head, read_wire, refused, request
from trioserve._protocol import Http1Limits, ParseFields

pytestmark = pytest.mark.parametrize("engine", ENGINES)

POST = b"POST / HTTP/1.1"
GET = request()
GOT = ("GET", "/", b"")
CHUNKED = b"Transfer-Encoding: chunked"


def chunked(body: bytes) -> bytes:
    return request(CHUNKED, line=POST, body=body)


# -- §6.3 message body length ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", [b"GET / HTTP/1.1", POST, b"PUT / HTTP/1.0", b"UNHEARD-OF / HTTP/1.1"])
def test_6_3_without_framing_fields_there_is_no_body(engine: ParseFields, line: bytes) -> None:
    reading = accepted(engine, request(line=line) + GET)
    assert [head.content_length for head in reading.heads] == [0, 0]
    assert reading.requests[1] == GOT


@pytest.mark.parametrize("line", [b"GET / HTTP/1.1", POST, b"PUT / HTTP/1.0", b"HEAD / HTTP/1.1", b"TRACE / HTTP/1.1"])
@pytest.mark.parametrize(
    ("value", "body"),
    [
        pytest.param(b"5", b"hello", id="length"),
        pytest.param(b"0", b"", id="zero"),
        pytest.param(b"000", b"", id="zeros"),
        pytest.param(b"0005", b"hello", id="leading zeros"),
        pytest.param(b" 5\t", b"hello", id="white space around"),
        pytest.param(b"7", b"a\r\n\r\nb\0", id="the body is no text"),
        pytest.param(b"18", b"GET / HTTP/1.1\r\n\r\n", id="the body looks like a request"),
    ],
)
def test_6_3_content_length(engine: ParseFields, line: bytes, value: bytes, body: bytes) -> None:
    reading = accepted(engine, request(b"Content-Length:" + value, line=line, body=body) + GET)
    assert reading.heads[0].content_length == len(body)
    assert reading.bodies == [body, b""]
    assert reading.requests[1] == GOT


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"+5", id="plus"),
        pytest.param(b"-5", id="minus"),
        pytest.param(b"5.0", id="fraction"),
        pytest.param(b"5e0", id="exponent"),
        pytest.param(b"0x5", id="hexadecimal"),
        pytest.param(b"0_5", id="underscore"),
        pytest.param(b"5 5", id="space inside"),
        pytest.param(b"5,5", id="list of equal ones"),
        pytest.param(b"5, 6", id="list"),
        pytest.param(b"5,", id="list with an empty end"),
        pytest.param(b",5", id="list with an empty start"),
        pytest.param(b"5;a=b", id="parameter"),
        pytest.param(b'"5"', id="quoted"),
        pytest.param(b"five", id="word"),
        pytest.param(b"\xb2", id="superscript two"),
        pytest.param(b"\xd9\xa5", id="Arabic digit five"),
        pytest.param(b"5\0", id="NUL"),
        pytest.param(b"9999999999999999999", id="more than 64 bits"),
        pytest.param(b"00000000000000000005", id="as long as such a number"),
        pytest.param(b"1" * 300, id="very long"),
    ],
)
def test_6_3_malformed_content_length_is_refused(engine: ParseFields, value: bytes) -> None:
    assert refused(engine, request(b"Content-Length: " + value, line=POST, body=b"hello")) == 400


@pytest.mark.parametrize("second", [b"5", b"6", b"0", b"05", b""])
def test_6_3_only_one_content_length(engine: ParseFields, second: bytes) -> None:
    wire = request(b"Content-Length: 5", b"content-length: " + second, line=POST, body=b"hello")
    assert refused(engine, wire) == 400


def test_6_3_the_largest_content_length(engine: ParseFields) -> None:
    assert only_head(engine, request(b"Content-Length: " + b"9" * 18, line=POST)).content_length == 10**18 - 1


def test_6_3_incomplete_body_waits(engine: ParseFields) -> None:
    reading = accepted(engine, request(b"Content-Length: 5", line=POST, body=b"hell"))
    assert (reading.bodies, reading.complete, reading.leftover) == ([b"hell"], 0, b"")


# -- §6.1 transfer coding ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", [b"chunked", b"Chunked", b"CHUNKED", b" chunked\t"])
def test_6_1_chunked(engine: ParseFields, coding: bytes) -> None:
    wire = request(b"Transfer-Encoding:" + coding, line=POST, body=b"5\r\nhello\r\n0\r\n\r\n") + GET
    reading = accepted(engine, wire)
    assert reading.heads[0].content_length is None
    assert reading.heads[0].headers[1] == (b"transfer-encoding", coding.strip())
    assert reading.requests == [("POST", "/", b"hello"), GOT]


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"identity,Chunked", b"x, gzip , chunked", b",chunked"])
def test_6_1_other_codings_in_front_of_chunks_are_unknown(engine: ParseFields, coding: bytes) -> None:
    wire = request(b"Transfer-Encoding: " + coding, line=POST, body=b"0\r\n\r\n")
    assert refused(engine, wire) == 501


@pytest.mark.parametrize(
    "coding",
    [b"gzip", b"identity", b"chunked, gzip", b"chunked, chunked", b"Chunked, gzip, chunked", b"chunked, identity",
     b"chunked,", b"chunked;a=b", b'"chunked"', b"xchunked", b"chunkedx", b"chunk ed", b"x", b"", b"\xa0chunked"],
)  # fmt: skip
def test_6_3_chunks_are_the_last_coding_or_nobody_knows_the_length(engine: ParseFields, coding: bytes) -> None:
    wire = request(b"Transfer-Encoding: " + coding, line=POST, body=b"0\r\n\r\n")
    assert refused(engine, wire) == 400


@pytest.mark.parametrize("second", [b"chunked", b"identity", b"gzip", b""])
def test_6_1_only_one_transfer_encoding(engine: ParseFields, second: bytes) -> None:
    for values in ((b"chunked", second), (second, b"chunked")):
        fields = [b"Transfer-Encoding: " + value for value in values]
        assert refused(engine, request(*fields, line=POST, body=b"0\r\n\r\n")) == 400


def test_6_1_http_1_0_has_no_transfer_codings(engine: ParseFields) -> None:
    assert refused(engine, request(CHUNKED, line=b"POST / HTTP/1.0", body=b"0\r\n\r\n")) == 400


def test_6_1_both_framings_are_refused(engine: ParseFields) -> None:
    fields = [CHUNKED, b"Content-Length: 5"]
    for order in (fields, fields[::-1]):
        assert refused(engine, request(*order, line=POST, body=b"0\r\n\r\n")) == 400


# -- §7.1 chunks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "body"),
    [
        pytest.param(b"0\r\n\r\n", b"", id="empty body"),
        pytest.param(b"1\r\na\r\n0\r\n\r\n", b"a", id="one chunk"),
        pytest.param(b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", b"abc", id="two chunks"),
        pytest.param(b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789", id="upper case size"),
        pytest.param(b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789", id="lower case size"),
        pytest.param(b"1F\r\n" + 31 * b"a" + b"\r\n0\r\n\r\n", 31 * b"a", id="two digits"),
        pytest.param(b"0000000000000003\r\nabc\r\n0\r\n\r\n", b"abc", id="sixteen digits"),
        pytest.param(b"1\r\na\r\n0000\r\n\r\n", b"a", id="zeros at the end"),
        pytest.param(b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n", id="chunk of CRLF"),
        pytest.param(b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n", id="chunk that looks like the last one"),
        pytest.param(b"1;a\r\nb\r\n0\r\n\r\n", b"b", id="7.1.1 extension"),
        pytest.param(b"1;a=b;c=d\r\ne\r\n0;f\r\n\r\n", b"e", id="7.1.1 extensions with values"),
        pytest.param(b'1;a="b;c"\r\nd\r\n0\r\n\r\n', b"d", id="7.1.1 quoted value"),
        pytest.param(b"1; a = b\t;c\r\nd\r\n0\r\n\r\n", b"d", id="7.1.1 white space in an extension"),
        pytest.param(b"1 \t;a\r\nb\r\n0\r\n\r\n", b"b", id="7.1.1 white space before an extension"),
        pytest.param(b'1;a="q\\"x"\r\nb\r\n0\r\n\r\n', b"b", id="7.1.1 quoted pair"),
        pytest.param(b'1;a="\\\\"\r\nb\r\n0\r\n\r\n', b"b", id="7.1.1 quoted backslash"),
        pytest.param(b'1;a=""\r\nb\r\n0\r\n\r\n', b"b", id="7.1.1 empty quoted value"),
        pytest.param(b'1;a="\xe9\t "\r\nb\r\n0\r\n\r\n', b"b", id="7.1.1 obs-text in a quoted value"),
        pytest.param(b"0\r\nX: y\r\n\r\n", b"", id="7.1.2 trailer field"),
        pytest.param(b"0\r\nX: y\r\nZ:\r\nX:y \r\n\r\n", b"", id="7.1.2 trailer fields"),
        pytest.param(b"0\r\nX: \t\x80\xff\r\n\r\n", b"", id="7.1.2 obs-text"),
    ],
)
def test_7_1_chunked_body(engine: ParseFields, wire: bytes, body: bytes) -> None:
    reading = accepted(engine, chunked(wire) + GET)
    assert reading.requests == [("POST", "/", body), GOT]
    assert reading.heads[0].headers == ((b"host", b"a"), (b"transfer-encoding", b"chunked"))


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(b"\r\n", id="no size"),
        pytest.param(b";a\r\n", id="only an extension"),
        pytest.param(b"g\r\n", id="no hexadecimal digit"),
        pytest.param(b"0x1\r\na\r\n", id="0x"),
        pytest.param(b"+1\r\na\r\n", id="plus"),
        pytest.param(b"-1\r\na\r\n", id="minus"),
        pytest.param(b"1_0\r\n", id="underscore"),
        pytest.param(b" 1\r\na\r\n", id="space before"),
        pytest.param(b"1 \r\na\r\n", id="space after"),
        pytest.param(b"1\t\r\na\r\n", id="tab after"),
        pytest.param(b"1 1\r\na\r\n", id="two numbers"),
        pytest.param(b"1,1\r\na\r\n", id="list"),
        pytest.param(b"1.\r\na\r\n", id="fraction"),
        pytest.param(b"\xd9\xa1\r\na\r\n", id="Arabic digit one"),
        pytest.param(b"\0001\r\na\r\n", id="NUL"),
        pytest.param(b"1\0\r\na\r\n", id="NUL after"),
        pytest.param(b"00000000000000001\r\na\r\n", id="seventeen digits"),
        pytest.param(b"1\na\r\n", id="size line ends in LF"),
        pytest.param(b"1\ra\r\n", id="size line ends in CR"),
        pytest.param(b"1\r\r\na\r\n", id="size line ends in CR CR LF"),
        pytest.param(b"1;\r\na\r\n", id="7.1.1 no name"),
        pytest.param(b"1;;a\r\na\r\n", id="7.1.1 no first name"),
        pytest.param(b"1;a;\r\na\r\n", id="7.1.1 no last name"),
        pytest.param(b"1;=b\r\na\r\n", id="7.1.1 only a value"),
        pytest.param(b"1;a=\r\na\r\n", id="7.1.1 no value"),
        pytest.param(b"1;a=;b\r\na\r\n", id="7.1.1 no first value"),
        pytest.param(b"1;a==b\r\na\r\n", id="7.1.1 two equals signs"),
        pytest.param(b"1;a b\r\na\r\n", id="7.1.1 two tokens"),
        pytest.param(b"1;a,b\r\na\r\n", id="7.1.1 a name that is no token"),
        pytest.param(b"1;\xe9\r\na\r\n", id="7.1.1 obs-text in a name"),
        pytest.param(b"1;a=\xe9\r\na\r\n", id="7.1.1 obs-text in a token"),
        pytest.param(b"1;a=b\t\r\na\r\n", id="7.1.1 white space at the end"),
        pytest.param(b'1;a="\r\na\r\n', id="7.1.1 quote that does not end"),
        pytest.param(b'1;a="b\\"\r\na\r\n', id="7.1.1 quote whose end is quoted"),
        pytest.param(b'1;a="b"c\r\na\r\n', id="7.1.1 something after a quoted value"),
        pytest.param(b'1;"a"\r\na\r\n', id="7.1.1 quoted name"),
        pytest.param(b"1;a\nb\r\n", id="7.1.1 LF in an extension"),
        pytest.param(b"1;a\rb\r\n", id="7.1.1 CR in an extension"),
        pytest.param(b"1;a\0\r\nb\r\n", id="7.1.1 NUL in an extension"),
        pytest.param(b'1;a="\n"\r\nb\r\n', id="7.1.1 LF in a quoted value"),
        pytest.param(b"1\r\nab\r\n", id="data longer than its size"),
        pytest.param(b"2\r\na\r\n0\r\n\r\n", id="data shorter than its size"),
        pytest.param(b"1\r\na0\r\n\r\n", id="no CRLF after the data"),
        pytest.param(b"1\r\na\n0\r\n\r\n", id="LF after the data"),
        pytest.param(b"1\r\na\r0\r\n\r\n", id="CR after the data"),
        pytest.param(b"1\r\na\r\r\n0\r\n\r\n", id="CR CR LF after the data"),
        pytest.param(b"1\r\na\r\n\r\n0\r\n\r\n", id="empty line between chunks"),
        pytest.param(b"0\n\r\n", id="last chunk ends in LF"),
        pytest.param(b"0\r\n\n", id="7.1.2 trailer section ends in LF"),
        pytest.param(b"0\r\nX: y\n\r\n", id="7.1.2 trailer field ends in LF"),
        pytest.param(b"0\r\nX: y\r\n\n", id="7.1.2 LF after a trailer field"),
        pytest.param(b"0\r\nX: y\rZ: z\r\n\r\n", id="7.1.2 CR in a trailer field"),
        pytest.param(b"0\r\nX: y\0\r\n\r\n", id="7.1.2 NUL in a trailer field"),
        pytest.param(b"0\r\nX: y\r\n z\r\n\r\n", id="7.1.2 folded trailer field"),
        pytest.param(b"0\r\n X: y\r\n\r\n", id="7.1.2 indented trailer field"),
        pytest.param(b"0\r\nX : y\r\n\r\n", id="7.1.2 space before the colon"),
        pytest.param(b"0\r\nX\r\n\r\n", id="7.1.2 no colon"),
        pytest.param(b"0\r\n: y\r\n\r\n", id="7.1.2 no name"),
        pytest.param(b"0\r\nX(: y\r\n\r\n", id="7.1.2 name is no token"),
    ],
)
def test_7_1_malformed_chunks_are_refused(engine: ParseFields, wire: bytes) -> None:
    assert refused(engine, chunked(wire)) == 400


@pytest.mark.parametrize(
    "name", [b"Content-Length", b"Transfer-Encoding", b"Host", b"Connection", b"Trailer", b"Expect", b"Cookie"]
)
def test_7_1_2_trailers_frame_nothing_and_join_no_headers(engine: ParseFields, name: bytes) -> None:
    reading = accepted(engine, chunked(b"1\r\na\r\n0\r\n" + name + b": 5\r\n\r\n") + GET)
    assert reading.requests == [("POST", "/", b"a"), GOT]
    assert len(reading.heads[0].headers) == 2


def test_7_1_a_chunk_that_says_it_is_enormous_is_no_problem(engine: ParseFields) -> None:
    reading = accepted(engine, chunked(b"ffffffffffffffff\r\nabc"))
    assert (reading.bodies, reading.complete) == ([b"abc"], 0)


@pytest.mark.parametrize(
    "wire",
    [b"", b"1", b"1 ", b"1\r", b"1;", b"1 ; ", b"1;a", b"1;a\r", b"1;a ", b"1;a=", b"1;a = ", b"1;a=b", b"1;a=b ;",
     b'1;a="', b'1;a="b\\', b'1;a="b\\"', b'1;a="b"', b'1;a="b" ', b'1;a="b";', b'1;a="b"\r', b"1\r\n",
     b"1\r\na", b"1\r\na\r", b"1\r\na\r\n", b"0", b"0\r\n", b"0\r\n\r",
     b"0\r\nX", b"0\r\nX: y\r", b"0\r\nX: y\r\n", b"0\r\nX: y\r\n\r"],
)  # fmt: skip
def test_7_1_incomplete_chunks_wait(engine: ParseFields, wire: bytes) -> None:
    assert accepted(engine, chunked(wire)).complete == 0


@pytest.mark.parametrize(
    "wire", [b"g", b" ", b"1 \r", b"1 1", b"0x", b"-", b";", b"\n", b"1\n", b"1\rx", b"1;\n", b"1;\r", b"1;a\rx",
             b"1;;", b"1;=", b"1;a=\r", b"1;a==", b"1;a b", b'1;a="\r', b'1;a="b\\\r', b'1;a="b"c', b'1;a="\0',
             b"1;a \r", b"1;a=,", b"00000000000000001", b"1\r\na0", b"1\r\na\n", b"1\r\na\r\r", b"0\r\nX: y\n",
             b"0\r\n\n"],
)  # fmt: skip
def test_7_1_what_cannot_become_a_chunk_is_refused_before_it_is_complete(engine: ParseFields, wire: bytes) -> None:
    assert refused(engine, chunked(wire)) == 400


# -- sizes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "status"), [(0, None), (9, None), (10, None), (11, 413), (10**17, 413)])
def test_limit_of_a_body_with_length(engine: ParseFields, length: int, status: int | None) -> None:
    wire = request(b"Content-Length: %d" % length, line=POST, body=b"x" * min(length, 11))
    assert refused(engine, wire, Http1Limits(body=10)) == status


@pytest.mark.parametrize(
    ("sizes", "status"),
    [((10,), None), ((5, 5), None), ((0,), None), ((11,), 413), ((5, 6), 413), ((1,) * 11, 413), ((2**64 - 1,), 413)],
)
def test_limit_of_a_body_in_chunks(engine: ParseFields, sizes: tuple[int, ...], status: int | None) -> None:
    chunks = [b"%x\r\n%b\r\n" % (size, b"x" * min(size, 12)) for size in sizes if size]
    assert refused(engine, chunked(b"".join(chunks) + b"0\r\n\r\n"), Http1Limits(body=10)) == status


def test_limit_of_nothing_allows_no_body(engine: ParseFields) -> None:
    limits = Http1Limits(body=0)
    assert accepted(engine, chunked(b"0\r\n\r\n") + GET, limits).complete == 2
    assert refused(engine, chunked(b"1\r\na\r\n0\r\n\r\n"), limits) == 413
    assert refused(engine, request(b"Content-Length: 1", line=POST, body=b"a"), limits) == 413


def pieces_around_the_end(head: bytes, end: bytes) -> list[list[bytes]]:
    """``end`` whole, cut at each of its last positions, and in one with ``head``."""
    return [[head + end], *([head, end[:cut], end[cut:]] for cut in range(len(end) - 4, len(end)))]


@pytest.mark.parametrize(("length", "status"), [(1023, None), (1024, None), (1025, 400), (5000, 400)])
def test_limit_of_a_chunk_size_line(engine: ParseFields, length: int, status: int | None) -> None:
    line = b"1;".ljust(length, b"a") + b"\r\n"
    for pieces in pieces_around_the_end(chunked(b""), line):
        assert read_wire(engine, pieces).refused == status


def test_limit_of_a_chunk_size_line_that_never_ends(engine: ParseFields) -> None:
    assert read_wire(engine, [chunked(b""), b"1;".ljust(1024, b"a")]).refused is None
    assert read_wire(engine, [chunked(b""), b"1;".ljust(1025, b"a")]).refused == 400


@pytest.mark.parametrize("chunk", [b"1;" + b"a" * 999 + b"\r\nx\r\n", b"1;a\r\nx\r\n"])
def test_limit_of_all_chunk_extensions_together(engine: ParseFields, chunk: bytes) -> None:
    extension = len(chunk) - len(b"1\r\nx\r\n")
    most = 16 * 1024 // extension
    assert read_wire(engine, [chunked(most * chunk + b"0\r\n\r\n")]).refused is None
    assert read_wire(engine, [chunked((most + 1) * chunk + b"0\r\n\r\n")]).refused == 400
    assert read_wire(engine, [chunked(b""), *((most + 1) * [chunk])]).refused == 400


def test_without_extensions_the_number_of_chunks_has_no_limit(engine: ParseFields) -> None:
    assert read_wire(engine, [chunked(20_000 * b"1\r\nx\r\n" + b"0\r\n\r\n")]).bodies == [20_000 * b"x"]


@pytest.mark.parametrize(("length", "status"), [(8191, None), (8192, None), (8193, 431), (20_000, 431)])
def test_limit_of_the_trailer_section(engine: ParseFields, length: int, status: int | None) -> None:
    section = b"X: ".ljust(length - 4, b"a") + b"\r\n\r\n"
    for pieces in pieces_around_the_end(chunked(b"0\r\n"), section):
        assert read_wire(engine, pieces).refused == status


def test_limit_of_a_trailer_section_that_never_ends(engine: ParseFields) -> None:
    assert read_wire(engine, [chunked(b"0\r\n"), b"X: ".ljust(8191, b"a")]).refused is None
    assert read_wire(engine, [chunked(b"0\r\n"), b"X: ".ljust(8192, b"a")]).refused == 431
