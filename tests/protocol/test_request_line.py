"""The request line: empty lines before it, version, method, the four forms of a target (RFC 9112 §2, §3)."""

import pytest

from tests.helpers.wire_feeding import ENGINES, accepted, only_head, read_every_way, refused, request
from trioserve._protocol import ParseFields

pytestmark = pytest.mark.parametrize("engine", ENGINES)

GET = request()


# -- §2.2 message parsing ----------------------------------------------------------------------------------------------


def test_2_2_one_empty_line_before_a_request_is_skipped(engine: ParseFields) -> None:
    assert accepted(engine, b"\r\n" + GET).requests == [("GET", "/", b"")]


def test_2_2_each_request_may_have_one(engine: ParseFields) -> None:
    assert len(accepted(engine, 3 * (b"\r\n" + GET)).heads) == 3


def test_2_2_after_a_body_too(engine: ParseFields) -> None:
    post = request(b"Content-Length: 3", line=b"POST / HTTP/1.1", body=b"abc")
    assert accepted(engine, 3 * (post + b"\r\n")).requests == 3 * [("POST", "/", b"abc")]


def test_2_2_after_a_target_in_another_form_too(engine: ParseFields) -> None:
    wire = request(line=b"OPTIONS * HTTP/1.1")
    assert len(accepted(engine, 3 * (b"\r\n" + wire)).heads) == 3


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(b"\r\n\r\n" + GET, id="two empty lines"),
        pytest.param(GET + b"\r\n\r\n" + GET, id="two empty lines between requests"),
        pytest.param(b"\r\n\r\n", id="nothing but empty lines"),
        pytest.param(b"\n" + GET, id="bare LF"),
        pytest.param(b"\r" + GET, id="bare CR"),
        pytest.param(b"\r\n\r" + GET, id="empty line and bare CR"),
        pytest.param(b" " + GET, id="space"),
        pytest.param(b"\t" + GET, id="tab"),
        pytest.param(b"\0" + GET, id="NUL"),
        pytest.param(b"\xef\xbb\xbf" + GET, id="byte order mark"),
    ],
)
def test_2_2_nothing_else_may_come_before_a_request(engine: ParseFields, wire: bytes) -> None:
    assert refused(engine, wire) == 400


def test_2_2_bytes_that_may_still_be_an_empty_line_wait(engine: ParseFields) -> None:
    for start in (b"", b"\r", b"\r\n", b"\r\nG"):
        assert accepted(engine, start).heads == []


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"GET  / HTTP/1.1", id="two spaces after the method"),
        pytest.param(b"GET /  HTTP/1.1", id="two spaces after the target"),
        pytest.param(b"GET\t/ HTTP/1.1", id="tab after the method"),
        pytest.param(b"GET /\tHTTP/1.1", id="tab after the target"),
        pytest.param(b"GET / HTTP/1.1 ", id="space at the end"),
        pytest.param(b"GET / HTTP/1.1\t", id="tab at the end"),
        pytest.param(b"GET / HTTP/1.1\r", id="CR CR LF"),
        pytest.param(b"GET / HTTP/1.1\0", id="NUL at the end"),
        pytest.param(b"GET\x0b/ HTTP/1.1", id="vertical tab"),
        pytest.param(b"GET\xa0/ HTTP/1.1", id="no-break space"),
        pytest.param(b"GET / HTTP/1.1\nHost: b", id="LF ends the line"),
        pytest.param(b"GET / HTTP/1.1\rHost: b", id="CR ends the line"),
    ],
)
def test_2_2_white_space_is_one_space_and_the_line_ends_in_crlf(engine: ParseFields, line: bytes) -> None:
    assert refused(engine, request(line=line)) == 400


def test_2_2_no_white_space_between_the_request_line_and_the_first_field(engine: ParseFields) -> None:
    for host in (b" Host: a", b"\tHost: a"):
        assert refused(engine, request(host=host)) == 400


# -- §2.3 HTTP version -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "understood"),
    [
        pytest.param(b"HTTP/1.0", "1.0", id="1.0"),
        pytest.param(b"HTTP/1.1", "1.1", id="1.1"),
        pytest.param(b"HTTP/1.2", "1.1", id="a higher minor version is understood as our own"),
        pytest.param(b"HTTP/1.9", "1.1", id="so is the highest"),
    ],
)
def test_2_3_version(engine: ParseFields, version: bytes, understood: str) -> None:
    assert only_head(engine, request(line=b"GET / " + version)).http_version == understood


@pytest.mark.parametrize(
    ("version", "status"),
    [
        pytest.param(b"HTTP/2.0", 505, id="2.0"),
        pytest.param(b"HTTP/0.9", 505, id="0.9"),
        pytest.param(b"HTTP/9.9", 505, id="9.9"),
        pytest.param(b"HTTP/1", 400, id="no minor version"),
        pytest.param(b"HTTP/1.", 400, id="empty minor version"),
        pytest.param(b"HTTP/.1", 400, id="empty major version"),
        pytest.param(b"HTTP/1.10", 400, id="two digits"),
        pytest.param(b"HTTP/11.1", 400, id="two major digits"),
        pytest.param(b"HTTP/1,1", 400, id="comma"),
        pytest.param(b"HTTP/-1.1", 400, id="sign"),
        pytest.param(b"HTTP/1.x", 400, id="letter"),
        pytest.param(b"http/1.1", 400, id="lower case"),
        pytest.param(b"HTTPS/1.1", 400, id="another name"),
        pytest.param(b"ICE/1.0", 400, id="a cousin of HTTP"),
        pytest.param(b"RTSP/1.0", 400, id="another cousin"),
        pytest.param(b"HTTP /1.1", 400, id="space inside"),
        pytest.param(b"1.1", 400, id="only numbers"),
        pytest.param(b"", 400, id="empty"),
    ],
)
def test_2_3_other_versions_are_refused(engine: ParseFields, version: bytes, status: int) -> None:
    assert refused(engine, request(line=b"GET / " + version)) == status


def test_2_3_http_0_9_has_no_version(engine: ParseFields) -> None:
    assert refused(engine, b"GET /\r\n\r\n") == 400


def test_2_3_the_preface_of_http_2_is_another_version(engine: ParseFields) -> None:
    assert refused(engine, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == 505


# -- §3.1 method -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method",
    ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "PROPFIND", "VERSION-CONTROL", "M-SEARCH",
     "QUERY", "PURGE", "SOURCE", "DESCRIBE", "UNHEARD-OF", "X", "CONNECTED", "A!#$%&'*+-.^_`|~1", "get", "Get", "patch",
     "connect", "m-search", "!x", "1", "~"],
)  # fmt: skip
def test_3_1_every_token_is_a_method_in_upper_case_as_asgi_has_it(engine: ParseFields, method: str) -> None:
    assert only_head(engine, request(line=method.encode() + b" / HTTP/1.1")).method == method.upper()


@pytest.mark.parametrize("target", [b"/", b"http://a/"])
@pytest.mark.parametrize("method", [b"head", b"Head", b"HEAd"])
def test_9110_9_1_head_is_not_HEAD(engine: ParseFields, method: bytes, target: bytes) -> None:
    """A proxy waits for a body that an application leaves out."""
    assert refused(engine, request(line=method + b" " + target + b" HTTP/1.1")) == 501


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(b"", id="none"),
        pytest.param(b"GE:T", id="colon"),
        pytest.param(b"GE(T", id="parenthesis"),
        pytest.param(b'"GET"', id="quoted"),
        pytest.param(b"GE\0T", id="NUL"),
        pytest.param(b"GE\x7fT", id="DEL"),
        pytest.param(b"G\xc9T", id="not ASCII"),
    ],
)
def test_3_1_what_is_no_token_is_no_method(engine: ParseFields, method: bytes) -> None:
    assert refused(engine, request(line=method + b" / HTTP/1.1")) == 400


# -- §3.2 request target -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "path", "raw_path", "query"),
    [
        pytest.param(b"/", "/", b"/", b"", id="3.2.1 root"),
        pytest.param(b"/a/b", "/a/b", b"/a/b", b"", id="3.2.1 path"),
        pytest.param(b"/a?b=c", "/a", b"/a", b"b=c", id="3.2.1 query"),
        pytest.param(b"/a?", "/a", b"/a", b"", id="3.2.1 empty query"),
        pytest.param(b"/a?b?c", "/a", b"/a", b"b?c", id="3.2.1 question mark in the query"),
        pytest.param(b"/a?b%20c", "/a", b"/a", b"b%20c", id="3.2.1 the query is not decoded"),
        pytest.param(b"//a//b", "//a//b", b"//a//b", b"", id="3.2.1 empty segments stay"),
        pytest.param(b"/a/../b/.", "/a/../b/.", b"/a/../b/.", b"", id="3.2.1 dot segments stay"),
        pytest.param(b"/a%20b", "/a b", b"/a%20b", b"", id="3.2.1 percent-encoded space"),
        pytest.param(b"/a%2Fb", "/a/b", b"/a%2Fb", b"", id="3.2.1 percent-encoded slash, raw path tells"),
        pytest.param(b"/%3F", "/?", b"/%3F", b"", id="3.2.1 percent-encoded question mark"),
        pytest.param(b"/%c3%A9", "/\N{LATIN SMALL LETTER E WITH ACUTE}", b"/%c3%A9", b"", id="3.2.1 UTF-8"),
        pytest.param(b"/%ff", "/\N{REPLACEMENT CHARACTER}", b"/%ff", b"", id="3.2.1 no UTF-8 becomes U+FFFD"),
        pytest.param(b"/%", "/%", b"/%", b"", id="3.2.1 percent alone stays"),
        pytest.param(b"/%zz", "/%zz", b"/%zz", b"", id="3.2.1 percent without hex digits stays"),
        pytest.param(b"/%2525", "/%25", b"/%2525", b"", id="3.2.1 decoded once"),
        pytest.param(b"/%00", "/\0", b"/%00", b"", id="3.2.1 percent-encoded NUL"),
        pytest.param(b'/"<>\\^`{|}', '/"<>\\^`{|}', b'/"<>\\^`{|}', b"", id="3.2.1 what browsers leave unencoded"),
        pytest.param(b"/;a=b/:@&=+$,", "/;a=b/:@&=+$,", b"/;a=b/:@&=+$,", b"", id="3.2.1 reserved characters"),
        pytest.param(b"/http://b/", "/http://b/", b"/http://b/", b"", id="3.2.1 a URI as a path"),
        pytest.param(b"http://b", "/", b"/", b"", id="3.2.2 without a path"),
        pytest.param(b"http://b/", "/", b"/", b"", id="3.2.2 root"),
        pytest.param(b"http://b/c/d?e=f", "/c/d", b"/c/d", b"e=f", id="3.2.2 path and query"),
        pytest.param(b"http://b?e=f", "/", b"/", b"e=f", id="3.2.2 query without a path"),
        pytest.param(b"http://b/?e?f", "/", b"/", b"e?f", id="3.2.2 question mark in the query"),
        pytest.param(b"http://b/%20", "/ ", b"/%20", b"", id="3.2.2 percent-encoded"),
        pytest.param(b"https://b/c", "/c", b"/c", b"", id="3.2.2 https"),
        pytest.param(b"HTTP://b/c", "/c", b"/c", b"", id="3.2.2 the scheme has no case"),
        pytest.param(b"http://b/c@d", "/c@d", b"/c@d", b"", id="3.2.2 at sign in the path"),
    ],
)
def test_3_2_target(engine: ParseFields, target: bytes, path: str, raw_path: bytes, query: bytes) -> None:
    head = only_head(engine, request(line=b"GET " + target + b" HTTP/1.1"))
    assert (head.target, head.path, head.raw_path, head.query_string) == (target, path, raw_path, query)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        pytest.param(b"*", "*", b"", id="3.2.4 the server itself"),
        pytest.param(b"http://b", "*", b"", id="3.2.4 the same through a proxy"),
        pytest.param(b"http://b/", "/", b"", id="3.2.4 but not with a path"),
        pytest.param(b"http://b?c", "/", b"c", id="3.2.4 and not with a query"),
        pytest.param(b"/", "/", b"", id="3.2.1 of a resource"),
    ],
)
def test_3_2_4_target_of_options(engine: ParseFields, target: bytes, path: str, query: bytes) -> None:
    head = only_head(engine, request(line=b"OPTIONS " + target + b" HTTP/1.1"))
    assert (head.path, head.raw_path, head.query_string) == (path, path.encode(), query)


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(b"", id="3.2 none"),
        pytest.param(b"a", id="3.2.1 no slash"),
        pytest.param(b"?a", id="3.2.1 only a query"),
        pytest.param(b"/a b", id="3.2 space"),
        pytest.param(b"/a\tb", id="3.2 tab"),
        pytest.param(b"/a\0b", id="3.2 NUL"),
        pytest.param(b"/a\x7f", id="3.2 DEL"),
        pytest.param(b"/a\rb", id="3.2 bare CR"),
        pytest.param(b"/a\nb", id="3.2 bare LF"),
        pytest.param(b"/\xc3\xa9", id="3.2 raw UTF-8 in the path"),
        pytest.param(b"/?\xc3\xa9", id="3.2 raw UTF-8 in the query"),
        pytest.param(b"/a#b", id="3.2 fragment"),
        pytest.param(b"/?a#b", id="3.2 fragment after a query"),
        pytest.param(b"http:///", id="3.2.2 no host"),
        pytest.param(b"http://", id="3.2.2 nothing"),
        pytest.param(b"http://:80/", id="3.2.2 only a port"),
        pytest.param(b"http://user@b/", id="3.2.2 user information"),
        pytest.param(b"http://b:port/", id="3.2.2 port is no number"),
        pytest.param(b"http://b\\c/", id="3.2.2 backslash in the authority"),
        pytest.param(b"http://[::1/", id="3.2.2 open bracket"),
        pytest.param(b"http:/b/", id="3.2.2 one slash"),
        pytest.param(b"ftp://b/", id="3.2.2 another scheme"),
        pytest.param(b"a:80", id="3.2.3 authority"),
        pytest.param(b"*", id="3.2.4 asterisk with GET"),
        pytest.param(b"*?a", id="3.2.4 asterisk with a query"),
        pytest.param(b"**", id="3.2.4 two asterisks"),
    ],
)
def test_3_2_what_is_no_target_is_refused(engine: ParseFields, target: bytes) -> None:
    assert refused(engine, request(line=b"GET " + target + b" HTTP/1.1")) == 400


@pytest.mark.parametrize("target", [b"a:443", b"[::1]:443", b"*", b"/", b"/a?b", b"http://a/", b"junk"])
def test_3_2_3_connect_is_for_proxies_whatever_its_target(engine: ParseFields, target: bytes) -> None:
    assert refused(engine, request(line=b"CONNECT " + target + b" HTTP/1.1")) == 501


def test_3_2_3_also_after_a_request_with_the_same_fields(engine: ParseFields) -> None:
    reading = read_every_way(engine, GET + request(line=b"CONNECT / HTTP/1.1"))
    assert (reading.requests, reading.refused) == ([("GET", "/", b"")], 501)
