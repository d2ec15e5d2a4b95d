"""What a head says about its connection: persistence, Expect, TE, Upgrade (RFC 9112 §9, RFC 9110 §7, §10)."""

import pytest

from tests.helpers.wire_feeding import ENGINES, accepted, only_head, request
from trioserve._protocol import ParseFields

pytestmark = pytest.mark.parametrize("engine", ENGINES)

LINE_1_0 = b"GET / HTTP/1.0"
LINE_1_1 = b"GET / HTTP/1.1"


# -- RFC 9112 §9.3 persistence -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "in_1_0", "in_1_1"),
    [
        pytest.param([], False, True, id="nothing"),
        pytest.param([b"keep-alive"], True, True, id="keep-alive"),
        pytest.param([b"Keep-Alive"], True, True, id="options have no case"),
        pytest.param([b"close"], False, False, id="close"),
        pytest.param([b"CLOSE"], False, False, id="close in upper case"),
        pytest.param([b"close, keep-alive"], False, False, id="close wins, first"),
        pytest.param([b"keep-alive, close"], False, False, id="close wins, last"),
        pytest.param([b"close", b"keep-alive"], False, False, id="close wins over a second field"),
        pytest.param([b"keep-alive", b"close"], False, False, id="close wins in a second field"),
        pytest.param([b"x", b"keep-alive"], True, True, id="second field"),
        pytest.param([b"keep-alive,TE"], True, True, id="list without spaces"),
        pytest.param([b"TE \t, \tkeep-alive"], True, True, id="list with white space"),
        pytest.param([b", ,keep-alive,"], True, True, id="list with empty elements"),
        pytest.param([b"upgrade"], False, True, id="something else"),
        pytest.param([b"closed"], False, True, id="starts with close"),
        pytest.param([b"x-close"], False, True, id="ends with close"),
        pytest.param([b"close x"], False, True, id="no list"),
        pytest.param([b'"close"'], False, True, id="quoted"),
        pytest.param([b""], False, True, id="empty"),
    ],
)
def test_9112_9_3_persistence(engine: ParseFields, options: list[bytes], in_1_0: bool, in_1_1: bool) -> None:
    fields = [b"Connection: " + option for option in options]
    assert only_head(engine, request(*fields, line=LINE_1_0)).keep_alive is in_1_0
    assert only_head(engine, request(*fields, line=LINE_1_1)).keep_alive is in_1_1


@pytest.mark.parametrize("field", [b"Keep-Alive: timeout=5", b"Proxy-Connection: keep-alive"])
def test_9112_9_3_other_fields_say_nothing(engine: ParseFields, field: bytes) -> None:
    assert not only_head(engine, request(field, line=LINE_1_0)).keep_alive


def test_9112_9_3_each_request_speaks_for_itself(engine: ParseFields) -> None:
    wire = request() + request(b"Connection: close") + request() + request(line=LINE_1_0) + request()
    assert [head.keep_alive for head in accepted(engine, wire).heads] == [True, False, True, False, True]


# -- RFC 9110 §10.1.1 Expect -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expects"),
    [
        pytest.param([], False, id="nothing"),
        pytest.param([b"100-continue"], True, id="100-continue"),
        pytest.param([b"100-Continue"], True, id="without case"),
        pytest.param([b"100"], False, id="another expectation"),
        pytest.param([b"x, 100-continue"], True, id="one of a list"),
        pytest.param([b"100-continue", b"x"], True, id="one of two fields"),
        pytest.param([b"100-continue-please"], False, id="longer"),
        pytest.param([b""], False, id="empty"),
    ],
)
def test_9110_10_1_1_expect(engine: ParseFields, values: list[bytes], expects: bool) -> None:
    fields = [b"Expect: " + value for value in values]
    wire = request(b"Content-Length: 1", *fields, line=b"POST / HTTP/1.1", body=b"a")
    assert only_head(engine, wire).expects_continue is expects


def test_9110_10_1_1_http_1_0_expects_nothing(engine: ParseFields) -> None:
    wire = request(b"Content-Length: 1", b"Expect: 100-continue", line=b"POST / HTTP/1.0", body=b"a")
    assert not only_head(engine, wire).expects_continue


# -- RFC 9110 §10.1.4 TE -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "accepts"),
    [
        pytest.param([], False, id="nothing"),
        pytest.param([b"trailers"], True, id="trailers"),
        pytest.param([b"Trailers"], True, id="without case"),
        pytest.param([b"deflate;q=0.5, trailers"], True, id="among others"),
        pytest.param([b"deflate", b"trailers"], True, id="in a second field"),
        pytest.param([b"trailers", b"deflate"], True, id="before a second field"),
        pytest.param([b"deflate"], False, id="another coding"),
        pytest.param([b"trailers-not"], False, id="longer"),
        pytest.param([b""], False, id="empty"),
    ],
)
def test_9110_10_1_4_te(engine: ParseFields, values: list[bytes], accepts: bool) -> None:
    fields = [b"TE: " + value for value in values]
    assert only_head(engine, request(*fields)).accepts_trailers is accepts


# -- RFC 9110 §7.8 Upgrade ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c", b"TLS/1.0", b"unheard-of", b""])
def test_9110_7_8_upgrade_changes_nothing_about_the_message(engine: ParseFields, protocol: bytes) -> None:
    fields = [b"Connection: upgrade", b"Upgrade: " + protocol, b"HTTP2-Settings: AAMAAABkAAQAAP__"]
    wire = request(*fields, b"Content-Length: 3", line=b"POST / HTTP/1.1", body=b"abc") + request()
    reading = accepted(engine, wire)
    assert reading.requests == [("POST", "/", b"abc"), ("GET", "/", b"")]
    assert (b"upgrade", protocol) in reading.heads[0].headers
