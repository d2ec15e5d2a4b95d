"""Request heads of HTTP/2 (RFC 9113 §8.2, §8.3), RFC 8441 §4."""

import pytest

from trioserve._errors import PeerError
from trioserve._protocol import Http1Limits
from trioserve._protocol.http2 import names as http2_names
from trioserve._protocol.http2.head import HeadReader
from trioserve._types import Fields

GET: Fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a:1"), (b":path", b"/p?q=1")]
CONNECT: Fields = [(b":method", b"CONNECT"), *GET[1:]]


def reader(limits: Http1Limits | None = None, *, tunnels: bool = True) -> HeadReader:
    return HeadReader(limits or Http1Limits(), tunnels=tunnels)


def without(name: bytes, fields: Fields = GET) -> Fields:
    return [field for field in fields if field[0] != name]


def test_8_3_1_a_request() -> None:
    head = reader().read([*GET, (b"x", b"1")], ends=True)
    assert (head.method, head.target, head.path, head.raw_path, head.query_string) == (
        "GET", b"/p?q=1", "/p", b"/p", b"q=1")
    assert head.headers == [(b"host", b"a:1"), (b"x", b"1")]
    assert (head.meaning.http_version, head.meaning.content_length) == ("2", 0)
    assert head.meaning.accepts_trailers


@pytest.mark.parametrize(("more", "ends", "length"), [
    ([], False, None), ([(b"content-length", b"5")], False, 5), ([(b"content-length", b"0")], True, 0)])
def test_8_1_1_the_length_of_the_body(more: Fields, ends: bool, length: int | None) -> None:
    assert reader().read([*GET, *more], ends=ends).meaning.content_length == length


def test_8_2_3_cookie_crumbs_are_joined() -> None:
    fields = [*GET, (b"cookie", b"a=1"), (b"x", b"1"), (b"cookie", b"b=2")]
    assert reader().read(fields, ends=True).headers == [(b"host", b"a:1"), (b"cookie", b"a=1; b=2"), (b"x", b"1")]


def test_8_2_3_crumbs_that_stand_together_as_browsers_send_them() -> None:
    crumbs = [(b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"cookie", b"c=3")]
    head = reader().read([*GET, (b"x", b"1"), *crumbs, (b"y", b"2")], ends=True)
    assert head.headers == [(b"host", b"a:1"), (b"x", b"1"), (b"cookie", b"a=1; b=2; c=3"), (b"y", b"2")]


@pytest.mark.parametrize("more", [[], [(b"content-length", b"0")], [(b"te", b"trailers")], [(b"host", b"a:1")]])
@pytest.mark.parametrize("name", [b"x-forwarded-for", b"x-forwarded-proto", b"forwarded"])
def test_what_proxies_say_is_noticed_beside_all_other_fields(more: Fields, name: bytes) -> None:
    assert reader().read([*GET, *more, (name, b"x")], ends=True).meaning.forwarded
    assert not reader().read([*GET, *more], ends=True).meaning.forwarded


@pytest.mark.parametrize("more", [[], [(b"te", b"trailers")], [(b"expect", b"100-continue")]])
def test_a_length_means_the_same_beside_all_other_fields(more: Fields) -> None:
    fields = [*GET, *more, (b"content-length", b"5")]
    assert reader().read(fields, ends=False).meaning.content_length == 5
    with pytest.raises(PeerError, match="without a body"):
        reader().read(fields, ends=True)
    with pytest.raises(PeerError, match="413"):
        reader(Http1Limits(body=4)).read(fields, ends=False)


def test_8_3_1_host_in_place_of_the_authority() -> None:
    assert reader().read([*without(b":authority"), (b"host", b"b")], ends=True).headers == [(b"host", b"b")]
    assert reader().read([*GET, (b"host", b"a:1")], ends=True).headers == [(b"host", b"a:1")]
    assert reader().read([*GET, (b"host", b"A:1")], ends=True).headers == [(b"host", b"a:1")]


def test_the_case_of_a_scheme_and_of_te_means_nothing() -> None:  # RFC 3986 §3.1, RFC 9110 §10.1.4
    fields = [GET[0], (b":scheme", b"HTTPS"), *GET[2:], (b"te", b"Trailers")]
    assert reader().read(fields, ends=True).path == "/p"


def test_8_3_1_options_for_the_whole_server() -> None:
    fields = [(b":method", b"OPTIONS"), *GET[1:3], (b":path", b"*")]
    assert reader().read(fields, ends=True).raw_path == b"*"


MALFORMED: dict[str, Fields] = {
    "8.3.1 no method": without(b":method"),
    "8.3.1 a method that is no token": [(b":method", b"G T"), *GET[1:]],
    "8.3.1 no scheme": without(b":scheme"),
    "8.3.1 an unknown scheme": [*without(b":scheme"), (b":scheme", b"gopher")],
    "8.3.1 no path": without(b":path"),
    "8.3.1 an empty path": [*without(b":path"), (b":path", b"")],
    "8.3.1 a path with a fragment": [*without(b":path"), (b":path", b"/#a")],
    "8.3.1 a path with a space": [*without(b":path"), (b":path", b"/ ")],
    "8.3.1 the path of OPTIONS with GET": [*without(b":path"), (b":path", b"*")],
    "8.3.1 no authority": without(b":authority"),
    "8.3.1 an empty authority": [*without(b":authority"), (b":authority", b"")],
    "8.3.1 an empty authority of a tunnel": [*without(b":authority", CONNECT), (b":authority", b""),
                                             (b":protocol", b"websocket")],
    "8.3.1 an authority with user information": [*without(b":authority"), (b":authority", b"u@a")],
    "8.3.1 Host is another": [*GET, (b"host", b"b")],
    "RFC 9112 3.2 two Host fields": [*GET, (b"host", b"a:1"), (b"host", b"a:1")],
    "8.3 a pseudo-header field twice": [*GET, (b":path", b"/")],
    "8.3 an unknown pseudo-header field": [*GET, (b":x", b"1")],
    "8.3 one of responses": [*GET, (b":status", b"200")],
    "8.3 a pseudo-header field that comes late": [*GET[:3], (b"x", b"1"), GET[3]],
    "8.2.1 an empty name": [*GET, (b"", b"1")],
    "8.2.1 a name in upper case": [*GET, (b"X", b"1")],
    "8.2.1 a name that is no token": [*GET, (b"a b", b"1")],
    "8.2.1 a line break": [*GET, (b"x", b"a\r\nb: c")],
    "8.2.1 a bare LF": [*GET, (b"x", b"a\nb")],
    "8.2.1 NUL": [*GET, (b"x", b"\0")],
    "8.2.1 white space before a value": [*GET, (b"x", b" a")],
    "8.2.1 white space after a value": [*GET, (b"x", b"a\t")],
    "8.2.2 connection": [*GET, (b"connection", b"close")],
    "8.2.2 proxy-connection": [*GET, (b"proxy-connection", b"close")],
    "8.2.2 keep-alive": [*GET, (b"keep-alive", b"1")],
    "8.2.2 transfer-encoding": [*GET, (b"transfer-encoding", b"chunked")],
    "8.2.2 upgrade": [*GET, (b"upgrade", b"h3")],
    "8.2.2 te": [*GET, (b"te", b"gzip")],
    "8.2.2 te in the second field": [*GET, (b"te", b"trailers"), (b"te", b"gzip")],
    "8.1.1 no number as length": [*GET, (b"content-length", b"ten")],
    "8.1.1 two lengths": [*GET, (b"content-length", b"1"), (b"content-length", b"1")],
    "8.1.1 a length without a body": [*GET, (b"content-length", b"1")],
    "8.5 CONNECT with a path": CONNECT,
    "RFC 8441 4 a protocol without CONNECT": [*GET, (b":protocol", b"websocket")],
    "RFC 8441 4 a tunnel that has ended": [*CONNECT, (b":protocol", b"websocket")],
}


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=MALFORMED.keys())
def test_8_1_1_malformed_requests(fields: Fields) -> None:
    with pytest.raises(PeerError) as caught:
        reader().read(fields, ends=True)
    assert caught.value.status == 400


def test_8_5_connect_is_for_proxies() -> None:
    with pytest.raises(PeerError, match="501"):
        reader().read([(b":method", b"CONNECT"), (b":authority", b"a:1")], ends=False)


def test_rfc_8441_4_a_websocket() -> None:
    fields = [*CONNECT, (b":protocol", b"websocket")]
    head = reader().read(fields, ends=False)
    assert (head.method, head.meaning.offers_websocket, head.meaning.content_length) == ("CONNECT", True, 0)
    with pytest.raises(PeerError, match="400"):
        reader(tunnels=False).read(fields, ends=False)
    with pytest.raises(PeerError, match="501"):
        reader().read([*CONNECT, (b":protocol", b"connect-udp")], ends=False)


@pytest.mark.parametrize(("limits", "more", "status"), [
    (Http1Limits(fields=2), [(b"a", b"1")] * 3, 431),
    (Http1Limits(head=200), [(b"a", bytes(100))], 431),
    (Http1Limits(request_line=5), [], 414),
    (Http1Limits(body=10), [(b"content-length", b"11")], 413),
])  # fmt: skip
def test_10_5_1_limits(limits: Http1Limits, more: Fields, status: int) -> None:
    with pytest.raises(PeerError) as caught:
        reader(limits).read([*GET, *more], ends=False)
    assert caught.value.status == status


def test_fields_that_are_repeated_mean_the_same_again() -> None:
    heads = reader()
    first = heads.read(GET, ends=True)
    assert first.answer is None
    assert heads.read(list(GET), ends=True) is first
    assert first.answer == ()  # worth remembering
    assert heads.read(GET, ends=False) is not first
    assert heads.read([*GET, (b"x", b"1")], ends=True) is not first


def test_the_same_names_with_other_values() -> None:
    """What is known of names says nothing about values."""
    fields = [*GET, (b"x", b"1")]
    assert reader().read(fields, ends=True).headers[1:] == [(b"x", b"1")]
    for wrong in (b"a\nb", b" a", b"\0"):
        with pytest.raises(PeerError, match="400"):
            reader().read([*GET, (b"x", wrong)], ends=True)
    assert reader().read([*GET, (b"x", b"2")], ends=False).headers[1:] == [(b"x", b"2")]


def test_lists_of_names_are_kept_within_bounds() -> None:
    for number in range(3 * http2_names.KEPT_AT_MOST):
        reader().read([*GET, (b"x-%d" % number, b"1")], ends=True)
    assert len(http2_names._kept) <= http2_names.KEPT_AT_MOST
    long = b"x" * http2_names.KEPT_BYTES
    reader().read([*GET, (long, b"1")], ends=True)
    assert not any(long in names for names in http2_names._kept)


@pytest.mark.parametrize("method", [b"head", b"Head"])
def test_head_is_not_HEAD(method: bytes) -> None:  # RFC 9110 §9.1
    with pytest.raises(PeerError, match="501: methods are case-sensitive"):
        reader().read([(b":method", method), *GET[1:]], ends=True)


@pytest.mark.parametrize("method", [b"connect", b"Get"])
def test_methods_are_told_in_upper_case_and_only_connect_makes_a_tunnel(method: bytes) -> None:
    head = reader().read([(b":method", method), *GET[1:]], ends=True)
    assert head.method == method.decode().upper()
    assert not head.meaning.offers_websocket
