"""Field lines: syntax, order, case, white space (RFC 9112 §5, RFC 9110 §5), and the Host field (RFC 9112 §3.2)."""

import pytest

from tests.helpers.wire_feeding import ENGINES, accepted, only_head, refused, request
from trioserve._protocol import ParseFields

pytestmark = pytest.mark.parametrize("engine", ENGINES)

HOST = (b"host", b"a")


# -- RFC 9112 §3.2, RFC 9110 §7.2: Host --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        pytest.param(b"example.com", id="name"),
        pytest.param(b"example.com:80", id="port"),
        pytest.param(b"example.com:", id="empty port"),
        pytest.param(b"EXAMPLE.com", id="case stays"),
        pytest.param(b"a_b.example", id="underscore"),
        pytest.param(b"%C3%A9.example", id="percent-encoded"),
        pytest.param(b"a,b;c=d", id="sub-delims, RFC 3986 3.2.2"),
        pytest.param(b"192.0.2.1:8000", id="IPv4"),
        pytest.param(b"[2001:db8::1]", id="IPv6"),
        pytest.param(b"[::1]:8000", id="IPv6 and port"),
        pytest.param(b"[v1.a:b]", id="IP of the future"),
        pytest.param(b"", id="empty, of a target without authority"),
    ],
)
def test_9112_3_2_well_formed_host(engine: ParseFields, host: bytes) -> None:
    assert only_head(engine, request(host=b"Host: " + host)).headers == ((b"host", host),)


@pytest.mark.parametrize(
    "host",
    [
        pytest.param(b"a b", id="space"),
        pytest.param(b"a/b", id="slash"),
        pytest.param(b"a@b", id="user information"),
        pytest.param(b"a?b", id="question mark"),
        pytest.param(b"a#b", id="fragment"),
        pytest.param(b"a\\b", id="backslash"),
        pytest.param(b'"a"', id="quoted"),
        pytest.param(b"<a>", id="angle brackets"),
        pytest.param(b"a:b", id="port is no number"),
        pytest.param(b"a:123456", id="port of six digits"),
        pytest.param(b"a:80:80", id="two ports"),
        pytest.param(b"a:-1", id="negative port"),
        pytest.param(b"::1", id="IPv6 without brackets"),
        pytest.param(b"[::1", id="open bracket"),
        pytest.param(b"[::1]a", id="text after the bracket"),
        pytest.param(b"[::1%25eth0]", id="zone"),
        pytest.param(b"[a.example]", id="name in brackets"),
        pytest.param(b"a%zz", id="percent without hex digits"),
        pytest.param(b"\xc3\xa9", id="not ASCII"),
        pytest.param(b"http://a", id="URI"),
    ],
)
def test_9112_3_2_malformed_host_is_refused(engine: ParseFields, host: bytes) -> None:
    assert refused(engine, request(host=b"Host: " + host)) == 400


def test_9112_3_2_http_1_1_needs_a_host(engine: ParseFields) -> None:
    assert refused(engine, request(host=None)) == 400
    assert refused(engine, request(host=None, line=b"GET http://a/ HTTP/1.1")) == 400
    assert refused(engine, request(host=None, line=b"GET / HTTP/1.2")) == 400


def test_9112_3_2_http_1_0_needs_none(engine: ParseFields) -> None:
    assert only_head(engine, request(host=None, line=b"GET / HTTP/1.0")).headers == ()


def test_9112_3_2_http_1_0_may_not_have_a_malformed_one(engine: ParseFields) -> None:
    assert refused(engine, request(host=b"Host: a b", line=b"GET / HTTP/1.0")) == 400


@pytest.mark.parametrize("line", [b"GET / HTTP/1.1", b"GET / HTTP/1.0", b"GET http://a/ HTTP/1.1"])
@pytest.mark.parametrize("second", [b"Host: a", b"Host: b", b"host: a", b"Host:"])
def test_9112_3_2_only_one_host(engine: ParseFields, line: bytes, second: bytes) -> None:
    assert refused(engine, request(second, line=line)) == 400


@pytest.mark.parametrize("authority", [b"b", b"b:8080", b"[::1]:80", b"B.example"])
def test_9112_3_2_2_authority_of_the_target_replaces_host(engine: ParseFields, authority: bytes) -> None:
    head = only_head(engine, request(b"X: y", line=b"GET http://" + authority + b"/ HTTP/1.1"))
    assert head.headers == ((b"host", authority), (b"x", b"y"))


def test_9112_3_2_2_and_comes_first(engine: ParseFields) -> None:
    head = only_head(engine, request(b"X: y", b"Host: a", line=b"GET http://b/ HTTP/1.1", host=None))
    assert head.headers == ((b"host", b"b"), (b"x", b"y"))


def test_9112_3_2_2_authority_is_not_remembered_for_the_next_request(engine: ParseFields) -> None:
    wire = request(line=b"GET http://b/ HTTP/1.1") + request() + request(line=b"GET http://c/ HTTP/1.1") + request()
    assert [head.headers for head in accepted(engine, wire).heads] == [
        ((b"host", host),) for host in (b"b", b"a", b"c", b"a")
    ]


def test_9112_3_2_2_authority_gives_http_1_0_a_host(engine: ParseFields) -> None:
    head = only_head(engine, request(line=b"GET http://b/ HTTP/1.0", host=None))
    assert head.headers == ((b"host", b"b"),)


# -- RFC 9112 §5, RFC 9110 §5: field lines -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "field"),
    [
        pytest.param(b"X: a", (b"x", b"a"), id="plain"),
        pytest.param(b"X-Mixed-CASE: Value", (b"x-mixed-case", b"Value"), id="5.1 names in lower case, values as is"),
        pytest.param(b"X:a", (b"x", b"a"), id="5.1 no space"),
        pytest.param(b"X: \t  a", (b"x", b"a"), id="5.1 white space before"),
        pytest.param(b"X: a \t ", (b"x", b"a"), id="5.1 white space after"),
        pytest.param(b"X: a \t b", (b"x", b"a \t b"), id="5.1 white space inside stays"),
        pytest.param(b"X:", (b"x", b""), id="5.5 empty value"),
        pytest.param(b"X: \t ", (b"x", b""), id="5.5 only white space"),
        pytest.param(b"X: :a:b:", (b"x", b":a:b:"), id="5.1 further colons"),
        pytest.param(b"!#$%&'*+-.^_`|~09AZ: a", (b"!#$%&'*+-.^_`|~09az", b"a"), id="5.6.2 every kind of character"),
        pytest.param(b"X_Y: a", (b"x_y", b"a"), id="5.6.2 underscore"),
        pytest.param(b"X: \x80\xff", (b"x", b"\x80\xff"), id="5.5 obs-text"),
        pytest.param(b"X: \xa0a\xa0", (b"x", b"\xa0a\xa0"), id="5.5 no-break space is no white space"),
        pytest.param(b"X: \x85", (b"x", b"\x85"), id="5.5 next line is no white space"),
        pytest.param(b'X: "a, b"; c', (b"x", b'"a, b"; c'), id="5.5 delimiters"),
        pytest.param(b"Proxy-Connection: close", (b"proxy-connection", b"close"), id="no field of ours"),
        pytest.param(b"Content-Lengthy: 5", (b"content-lengthy", b"5"), id="name that starts like one of ours"),
    ],
)
def test_9112_5_field_line(engine: ParseFields, line: bytes, field: tuple[bytes, bytes]) -> None:
    assert only_head(engine, request(line)).headers == (HOST, field)
    assert only_head(engine, request(line, b"Z: z")).headers == (HOST, field, (b"z", b"z"))


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"X : a", id="5.1 space before the colon"),
        pytest.param(b"X\t: a", id="5.1 tab before the colon"),
        pytest.param(b"X", id="5 no colon"),
        pytest.param(b"X Y", id="5 no colon but a space"),
        pytest.param(b": a", id="5.1 no name"),
        pytest.param(b":", id="5.1 only a colon"),
        pytest.param(b"X Y: a", id="5.6.2 space in the name"),
        pytest.param(b"X(: a", id="5.6.2 parenthesis in the name"),
        pytest.param(b"X[: a", id="5.6.2 bracket in the name"),
        pytest.param(b"X@: a", id="5.6.2 at sign in the name"),
        pytest.param(b'"X": a', id="5.6.2 quoted name"),
        pytest.param(b"X/Y: a", id="5.6.2 slash in the name"),
        pytest.param(b"X\\: a", id="5.6.2 backslash in the name"),
        pytest.param(b"X\0: a", id="5.6.2 NUL in the name"),
        pytest.param(b"X\x7f: a", id="5.6.2 DEL in the name"),
        pytest.param(b"X\xe9: a", id="5.6.2 name is not ASCII"),
        pytest.param(b":path: /", id="5.6.2 pseudo-header field"),
        pytest.param(b" X: a", id="5.2 indented"),
        pytest.param(b"\tX: a", id="5.2 indented with a tab"),
        pytest.param(b"X: a\r\n b", id="5.2 folded"),
        pytest.param(b"X: a\r\n\tb", id="5.2 folded with a tab"),
        pytest.param(b"X: a\r\n ", id="5.2 folded onto an empty line"),
        pytest.param(b"X:\r\n a", id="5.2 folded from the start"),
    ],
)
def test_9112_5_what_is_no_field_line_is_refused(engine: ParseFields, line: bytes) -> None:
    for fields in ((line,), (line, b"Z: z"), (b"Z: z", line)):
        assert refused(engine, request(*fields)) == 400
    assert refused(engine, request(b"Z: z", host=line)) == 400


@pytest.mark.parametrize("code", [*range(9), *range(0x0A, 0x20), 0x7F])
def test_9110_5_5_control_character_in_a_value_is_refused(engine: ParseFields, code: int) -> None:
    for value in (b"a%cb", b"%ca", b"a%c"):
        assert refused(engine, request(b"X: " + value % code)) == 400


@pytest.mark.parametrize("code", [0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
def test_9110_5_5_every_other_character_is_kept(engine: ParseFields, code: int) -> None:
    value = b"a%cb" % code
    assert only_head(engine, request(b"X: " + value)).headers == (HOST, (b"x", value))


def test_9110_5_3_order_and_repetition_are_kept(engine: ParseFields) -> None:
    head = only_head(engine, request(b"B: 1", b"A: 2", b"b: 3", b"A: 2", b"Cookie: a=1", b"Cookie: b=2"))
    assert head.headers[1:] == (
        (b"b", b"1"), (b"a", b"2"), (b"b", b"3"), (b"a", b"2"), (b"cookie", b"a=1"), (b"cookie", b"b=2"),
    )  # fmt: skip


def test_headers_of_a_request_are_its_own(engine: ParseFields) -> None:
    [first, second] = accepted(engine, 2 * request(b"X: a")).heads
    assert first.headers == second.headers
