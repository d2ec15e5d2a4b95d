"""What proxies say: X-Forwarded-* fields and Forwarded (RFC 7239), and above all whom not to believe."""

from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.helpers.wire_feeding import ENGINES, accepted
from trioserve._protocol import Http1Codec, Http1Limits, ParseFields
from trioserve._protocol.forwarded import Origin, read_forwarded, read_x_forwarded
from trioserve._trust import FORWARDED, X_FORWARDED, TrustedPeers

if TYPE_CHECKING:
    from trioserve._types import Fields

PEER: Final = ("10.0.0.1", 4711)
TRUSTS: Final = TrustedPeers("10.0.0.0/8, 2001:db8:a::/48").host


def x_forwarded(*fields: tuple[str, str], believed: frozenset[bytes] = X_FORWARDED, peer: Any = PEER) -> Origin:
    lines = [(b"x-forwarded-" + name.encode(), value.encode("latin-1")) for name, value in fields]
    return read_x_forwarded(lines, believed, TRUSTS, peer)


def forwarded(*values: str, peer: Any = PEER) -> Origin:
    return read_forwarded([(FORWARDED, value.encode("latin-1")) for value in values], TRUSTS, peer)


# -- that there is something ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("line", "seen"), [
    (b"Forwarded: for=a", True), (b"forwarded:", True), (b"X-Forwarded-For: a", True), (b"x-forwarded-proto: a", True),
    (b"X-FORWARDED-HOST: a", True), (b"X-Forwarded-Port: 1", True), (b"X-Forwarded-Prefix: /a", True),
    (b"X-Forwarded-Server: a", False), (b"X-Forwarded: a", False), (b"X_Forwarded_For: a", False), (b"Via: a", False),
])
def test_the_codec_notices_the_fields(engine: ParseFields, line: bytes, seen: bool) -> None:
    codec = Http1Codec(engine, Http1Limits())
    for _ in range(2):  # the second section is remembered
        codec.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n" + line + b"\r\n\r\n")
        head = codec.next_head()
        assert head is not None and head.meaning.forwarded is seen
    codec.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    head = codec.next_head()
    assert head is not None and not head.meaning.forwarded


# -- X-Forwarded-For --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "client"), [
    ("192.0.2.1", ("192.0.2.1", 0)),
    ("192.0.2.1:5000", ("192.0.2.1", 5000)),
    (" 192.0.2.1\t", ("192.0.2.1", 0)),
    ("2001:DB8::1", ("2001:db8::1", 0)),
    ("[2001:db8::1]", ("2001:db8::1", 0)),
    ("[2001:db8::1]:5000", ("2001:db8::1", 5000)),
    ("::ffff:192.0.2.1", ("192.0.2.1", 0)),
    ("unknown", None),
    ("_hidden", None),
    # from the right
    ("192.0.2.9, 192.0.2.1", ("192.0.2.1", 0)),
    ("192.0.2.1, 10.0.0.2", ("192.0.2.1", 0)),
    ("192.0.2.9, 192.0.2.1, 10.0.0.3, 10.0.0.2", ("192.0.2.1", 0)),
    ("192.0.2.9,192.0.2.1:1,10.0.0.3:2,[2001:db8:a::1]:3", ("192.0.2.1", 1)),
    ("192.0.2.1, ::ffff:10.0.0.2", ("192.0.2.1", 0)),
    ("10.0.0.3, 10.0.0.2", ("10.0.0.3", 0)),  # all are trusted: the first
    ("unknown, 10.0.0.2", None),
    ("192.0.2.1, unknown", None),
    (", ,192.0.2.1,,", ("192.0.2.1", 0)),  # RFC 9110 §5.6.1
    # nonsense: the hop that says it is the last that is known
    ("nonsense", PEER),
    ("nonsense, 10.0.0.2", ("10.0.0.2", 0)),
    ("nonsense, 192.0.2.1", ("192.0.2.1", 0)),
    ("", PEER),
    (",", PEER),
    ("192.0.2.1 192.0.2.2", PEER),
    ("192.0.2", PEER), ("192.0.2.256", PEER), ("192.0.2.01", PEER), ("1", PEER), ("192.0.2.1:", PEER),
    ("192.0.2.1:65536", PEER), ("192.0.2.1:x", PEER), ("192.0.2.1/24", PEER), ("[192.0.2.1]", PEER), ("[::1", PEER),
    ("::1]", PEER), ("[::1]:", PEER), ("[::1]x", PEER), ("fe80::1%eth0", PEER), ("[fe80::1%eth0]", PEER), (":80", PEER),
    ("_" + "x" * 100, None), ("_" + "x" * 101, PEER),
    ('"192.0.2.1"', PEER), ("example.com", PEER), ("_", PEER), ("\xe9", PEER), ("for=192.0.2.1", PEER),
])
def test_x_forwarded_for(value: str, client: Any) -> None:
    assert x_forwarded(("for", value)).client == client


def test_x_forwarded_for_in_several_fields_is_one_list() -> None:
    assert x_forwarded(("for", "192.0.2.9"), ("for", "192.0.2.1"), ("for", "10.0.0.2")).client == ("192.0.2.1", 0)


def test_x_forwarded_for_when_everybody_is_trusted() -> None:
    lines = [(b"x-forwarded-for", b"192.0.2.1, 192.0.2.2")]
    assert read_x_forwarded(lines, X_FORWARDED, TrustedPeers("*").host, None).client == ("192.0.2.1", 0)


def test_without_x_forwarded_for_the_client_is_the_peer() -> None:
    assert x_forwarded(("proto", "https")) == Origin(PEER, "https")
    assert x_forwarded(("proto", "https"), peer=None) == Origin(None, "https")


# -- the others -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "scheme"), [
    ("http", "http"), ("https", "https"), ("HTTPS", "https"), ("ws", "http"), ("wss", "https"), (" https ", "https"),
    ("", None), ("ftp", None), ("https:", None), ("on", None), ("https http", None), ("\xe9", None),
])
def test_x_forwarded_proto(value: str, scheme: str | None) -> None:
    assert x_forwarded(("proto", value)).scheme == scheme


@pytest.mark.parametrize(("value", "host", "port"), [
    ("example.com", "example.com", None), ("example.com:8443", "example.com", 8443), ("[::1]", "[::1]", None),
    ("[::1]:80", "[::1]", 80), ("Example.COM", "Example.COM", None), ("example.com:", "example.com", None),
    ("", None, None), (":80", None, None), ("a b", None, None), ("a/b", None, None), ("user@a", None, None),
    ("a:b", None, None), ("a:80:80", None, None), ("<script>", None, None), ("\xe9", None, None),
    ("a:0", "a", None), ("a:65536", "a", None),
])
def test_x_forwarded_host(value: str, host: str | None, port: int | None) -> None:
    origin = x_forwarded(("host", value))
    assert (origin.host, origin.port) == (host, port)


@pytest.mark.parametrize(("value", "port"), [
    ("443", 443), ("1", 1), ("65535", 65535), ("0443", 443),
    ("0", None), ("65536", None), ("", None), ("-1", None), ("+1", None), ("1e3", None), ("443x", None), ("\xb2", None),
])
def test_x_forwarded_port(value: str, port: int | None) -> None:
    assert x_forwarded(("port", value)).port == port


def test_x_forwarded_port_beats_the_port_of_the_host() -> None:
    assert x_forwarded(("host", "a:80"), ("port", "443")) == Origin(PEER, None, "a", 443)
    assert x_forwarded(("host", "a:80"), ("port", "x")) == Origin(PEER, None, "a", 80)


@pytest.mark.parametrize(("value", "prefix"), [
    ("/api", "/api"), ("/api/", "/api"), ("/a/b-c.d~e_f", "/a/b-c.d~e_f"), ("/", ""),
    ("api", "/api"), ("/a%20b/", "/a%20b"), ("/%61", "/%61"), ("/\xc3\xa9", "/%C3%A9"), ("/%c3%a9", "/%c3%a9"),
    ("", None), ("//evil.example", None), ("/%2Fevil.example", None), ("/a//b", None), ("/a/../b", None), ("/..", None),
    ("/.", None), ("/%2e%2E/b", None), ("/a?b", None), ("/a#b", None), ("/a b", None), ("/\\evil.example", None),
    ("/%5Cevil.example", None), ("/%0d%0aa", None), ("/%", None), ("http://a/", None), ("/\xe9", None), ("/%e9", None),
])
def test_x_forwarded_prefix(value: str, prefix: str | None) -> None:
    assert x_forwarded(("prefix", value)).prefix == prefix


@pytest.mark.parametrize(("hops", "value", "scheme"), [
    ("192.0.2.1", "https", "https"),
    ("192.0.2.1", "https, http", "http"),  # the stranger wrote the first
    ("192.0.2.1, 10.0.0.2", "https, http", "https"),  # each proxy has added one
    ("192.0.2.1, 10.0.0.2", "http, https, http", "https"),
    ("192.0.2.1, 10.0.0.2", "https", "https"),  # each proxy has replaced it
    ("192.0.2.1, 10.0.0.3, 10.0.0.2", "https, http", "https"),
    ("192.0.2.8, 192.0.2.9, 192.0.2.1", "http, http, https", "https"),
    ("nonsense", "http, https", "https"),
])
def test_other_fields_are_those_of_the_outermost_trusted_hop(hops: str, value: str, scheme: str) -> None:
    assert x_forwarded(("for", hops), ("proto", value)).scheme == scheme


@pytest.mark.parametrize("name", ["for", "proto", "host", "port", "prefix"])
def test_what_is_not_believed_is_not_read(name: str) -> None:
    everything = [("for", "192.0.2.1"), ("proto", "https"), ("host", "a"), ("port", "1"), ("prefix", "/a")]
    believed = frozenset({b"x-forwarded-" + name.encode()})
    only = [(other, value) for other, value in everything if other == name]
    assert x_forwarded(*everything, believed=believed) == x_forwarded(*only)
    assert x_forwarded(*everything, believed=believed) != x_forwarded(*everything)


# -- Forwarded (RFC 7239 §4 to §6) ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "origin"), [
    # the specification's own examples
    ('for="_gazonk"', Origin(None)),
    ('For="[2001:db8:cafe::17]:4711"', Origin(("2001:db8:cafe::17", 4711))),
    ("for=192.0.2.60;proto=http;by=203.0.113.43", Origin(("192.0.2.60", 0), "http")),
    ("for=192.0.2.43, for=198.51.100.17", Origin(("198.51.100.17", 0))),
    ('for=192.0.2.43, for="[2001:db8:cafe::17]"', Origin(("2001:db8:cafe::17", 0))),
    ("for=unknown", Origin(None)),
    # all parameters
    ("for=192.0.2.1;host=example.com;proto=https", Origin(("192.0.2.1", 0), "https", "example.com")),
    ('FOR=192.0.2.1;HOST="example.com:8443";PROTO=HTTPS', Origin(("192.0.2.1", 0), "https", "example.com", 8443)),
    ('for="192.0.2.1:80";ext="a, b; c=\\"d\\"";proto=https', Origin(("192.0.2.1", 80), "https")),
    ('for="192.0.2.1:_port"', Origin(("192.0.2.1", 0))),
    ('for="\\1\\9\\2.0.2.1"', Origin(("192.0.2.1", 0))),
    ("proto=https", Origin(PEER, "https")),
    ("for=192.0.2.1;", Origin(("192.0.2.1", 0))),
    ("for=192.0.2.1;by=_a;secret=x", Origin(("192.0.2.1", 0))),
    ('for="_hidden:80", for=10.0.0.2', Origin(None)),
    # from the right
    ("for=192.0.2.9, for=192.0.2.1;proto=https, for=10.0.0.2;proto=http", Origin(("192.0.2.1", 0), "https")),
    ("for=192.0.2.9;proto=https,for=192.0.2.1", Origin(("192.0.2.1", 0))),
    ("for=192.0.2.1, for=10.0.0.2;proto=https;host=a", Origin(("192.0.2.1", 0), "https", "a")),
    ("for=10.0.0.3;proto=http, for=10.0.0.2;proto=https", Origin(("10.0.0.3", 0), "http")),
    ("for=192.0.2.9, proto=https", Origin(PEER, "https")),  # the last hop does not say for whom
    (", for=192.0.2.1 ,, ", Origin(("192.0.2.1", 0))),
    # nonsense: the hop that says it is the last that is known
    ("", Origin(PEER)),
    ("nonsense", Origin(PEER)),
    ("for", Origin(PEER)), ("for=", Origin(PEER)), ("=a", Origin(PEER)), ("for = 192.0.2.1", Origin(PEER)),
    ("for=192.0.2.1;for=192.0.2.2", Origin(PEER)), ("for=[2001:db8::1]", Origin(PEER)),
    ("for=192.0.2.1:80", Origin(PEER)),
    ('for="192.0.2.1', Origin(PEER)), ('for=192.0.2.1"', Origin(PEER)), ('for="192.0.2.1"x', Origin(PEER)),
    ("for=192.0.2.1; proto=https", Origin(PEER)), ("for=nonsense;proto=https", Origin(PEER, "https")),
    ("for=192.0.2.1;proto=ftp;host=a b", Origin(PEER)), ("for=192.0.2.1;proto=ftp", Origin(("192.0.2.1", 0))),
    ('for=192.0.2.1;host="a b"', Origin(("192.0.2.1", 0))), ("nonsense, for=10.0.0.2", Origin(("10.0.0.2", 0))),
    ("for=\xe9", Origin(PEER)), ("\\", Origin(PEER)), ('"', Origin(PEER)),
])
def test_forwarded(value: str, origin: Origin) -> None:
    assert forwarded(value) == origin


@pytest.mark.parametrize("stranger", [
    'for="', 'for="1.1.1.1', '"', "\\", '\\"', 'for="\\', ",", ";", 'for="a\\",b="c',
    "for=1.1.1.1;proto=https;host=evil", 'x="", y="', 'for=1.1.1.1, for="[::1',
])
def test_what_a_stranger_writes_does_not_change_what_the_proxy_added(stranger: str) -> None:
    ours = 'for="192.0.2.1:80";ext="a, for=1.1.1.1, \\", b";proto=https'
    expected = Origin(("192.0.2.1", 80), "https")
    assert forwarded(f"{stranger}, {ours}") == expected  # in one field
    assert forwarded(stranger, ours) == expected  # in two
    assert forwarded(f"{stranger}, {ours}", "for=10.0.0.2;host=inner") == Origin(("192.0.2.1", 80), "https", "inner")


# -- whatever is sent -------------------------------------------------------------------------------------------------

VISIBLE: Final = st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f")
PIECES: Final = st.lists(
    st.sampled_from(['"', "\\", ",", ";", "=", " ", "for", "for=", "proto=https", "host=evil", "10.0.0.2", "1.1.1.1",
                     "[::1]", ":80", "unknown", "_x", "https"]) | VISIBLE, max_size=30).map("".join)
CLIENT: Final = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


@given(said=PIECES, client=CLIENT)
@example(said='for="', client="192.0.2.1")
def test_nobody_can_speak_for_the_last_proxy(said: str, client: Any) -> None:
    """The proxy adds the address that it sees; what was there before does not matter."""
    assume(not TRUSTS(str(client)))
    expected = x_forwarded(("for", str(client)))
    assert expected.client is not None
    assert x_forwarded(("for", f"{said},{client}")) == expected
    assert x_forwarded(("for", said), ("for", str(client))) == expected
    node = f'"[{client}]"' if ":" in str(client) else str(client)
    for element in (f"for={node}", f'for={node};ext="\\",\\\\"', f'ext="a,b";for={node}'):
        assert forwarded(f"{said},{element}") == expected
        assert forwarded(said, element) == expected


@given(names=st.lists(st.sampled_from([*sorted(X_FORWARDED), FORWARDED]), max_size=6),
       values=st.lists(PIECES, min_size=6))
def test_any_field_is_read_without_an_error(names: list[bytes], values: list[str]) -> None:
    fields: Fields = [(name, value.encode("latin-1")) for name, value in zip(names, values, strict=False)]
    for origin in (read_x_forwarded(fields, X_FORWARDED, TRUSTS, PEER), read_forwarded(fields, TRUSTS, PEER)):
        assert origin.scheme in (None, "http", "https")
        assert origin.port is None or 0 < origin.port < 65536
        assert origin.host is None or set(origin.host).isdisjoint('/?#@"\\ ,<>')
        assert not origin.prefix or (origin.prefix.startswith("/") and "//" not in origin.prefix)
        assert origin.client is None or isinstance(origin.client[1], int)


def test_fields_of_the_largest_size_are_read_at_once() -> None:
    for piece in ('",', '"', ',for="', "\\", ',for=10.0.0.2', '\\"', "for=a;"):
        value = piece * (65536 // len(piece))
        forwarded(value)
        x_forwarded(("for", value))


@pytest.mark.parametrize("engine", ENGINES)
def test_they_may_be_repeated_and_mixed(engine: ParseFields) -> None:  # they are no framing: nothing is refused
    lines = b"\r\n".join([b"X-Forwarded-For: a", b"X-Forwarded-For:", b'Forwarded: "', b"Forwarded: b"])
    accepted(engine, b"GET / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n\r\n")
