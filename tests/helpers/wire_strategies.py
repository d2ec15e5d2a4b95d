"""Hypothesis strategies for what goes over the wire: requests that are fine, and ones that are nearly so."""

from dataclasses import dataclass
from string import ascii_letters, digits
from typing import Any, Final

from hypothesis import strategies as st

__all__ = ["Sent", "arbitrary_wires", "framing_wires", "mutated_wires", "sent_requests"]

_TOKEN_MARKS: Final = "!#$%&'*+-.^_`|~"
_UNINTERPRETED: Final = ["x", "Accept", "Cookie", "User-Agent", "Referer", "Upgrade", "X-Forwarded-For", "Keep-Alive"]


@dataclass(frozen=True, slots=True)
class Sent:
    """A well-formed request: its bytes, and what they have to be read as."""

    wire: bytes
    method: str
    raw_path: bytes
    query_string: bytes
    http_version: str
    headers: tuple[tuple[bytes, bytes], ...]
    content_length: int | None
    body: bytes


def _tokens(alphabet: str) -> st.SearchStrategy[str]:
    return st.text(alphabet + digits + _TOKEN_MARKS, min_size=1, max_size=8)


_methods = st.one_of(
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"]),
    _tokens(ascii_letters).filter(lambda method: method != "CONNECT"),
)
_visible = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in "#?")
_paths = st.text(_visible, max_size=20).map(lambda path: f"/{path}".encode())
_queries = st.text(_visible + "?", max_size=10).map(str.encode)
_white_space = st.text(" \t", max_size=2).map(str.encode)
_values = st.binary(max_size=12).map(
    lambda value: bytes(code for code in value if code == 9 or 32 <= code != 127).strip(b" \t")
)
_names = st.one_of(
    st.sampled_from(_UNINTERPRETED),
    _tokens(ascii_letters).map(lambda name: f"X-{name}"),
).map(str.encode)


@st.composite
def _chunked(draw: st.DrawFn, body: bytes) -> bytes:
    """``body`` in chunks."""
    wire = b""
    while body:
        size = draw(st.integers(1, len(body)))
        extension = draw(st.sampled_from([b"", b"", b";a", b" ; a\t= b", b';a="b\\"";c']))
        zeros = draw(st.sampled_from([b"", b"", b"0", b"000"]))
        number = draw(st.sampled_from([b"%x", b"%X"])) % size
        wire += zeros + number + extension + b"\r\n" + body[:size] + b"\r\n"
        body = body[size:]
    return wire + draw(st.sampled_from([b"0\r\n\r\n", b"0\r\n\r\n", b"00;a\r\n\r\n", b"0\r\nX: y\r\n\r\n"]))


@st.composite
def sent_requests(draw: st.DrawFn) -> Sent:
    """A request that is fine, in any way a request can be fine."""
    method = draw(_methods)
    version = draw(st.sampled_from(["1.1", "1.1", "1.0"]))
    raw_path, query = draw(_paths), draw(st.none() | _queries)
    target = raw_path if query is None else raw_path + b"?" + query
    fields = draw(st.lists(st.tuples(_names, _values), max_size=4))
    if version == "1.1" or draw(st.booleans()):
        fields.insert(draw(st.integers(0, len(fields))), (b"Host", draw(st.sampled_from([b"a", b"a.b:80", b"[::1]"]))))
    framing = draw(st.sampled_from(["none", "length", "chunked"]))
    body = draw(st.binary(max_size=30)) if framing != "none" else b""
    wire_body, content_length = body, len(body)
    length: int | None = content_length
    if framing == "length":
        fields.insert(draw(st.integers(0, len(fields))), (b"Content-Length", b"%d" % content_length))
    elif framing == "chunked" and version == "1.1":
        fields.insert(draw(st.integers(0, len(fields))), (b"Transfer-Encoding", b"chunked"))
        wire_body, length = draw(_chunked(body)), None
    else:
        body, wire_body, length = b"", b"", 0
    lines = [b"%b %b HTTP/%b" % (method.encode(), target, version.encode())]
    lines += [name + b":" + draw(_white_space) + value + draw(_white_space) for name, value in fields]
    wire = draw(st.sampled_from([b"", b"", b"\r\n"])) + b"\r\n".join(lines) + b"\r\n\r\n" + wire_body
    headers = tuple((name.lower(), value) for name, value in fields)
    return Sent(wire, method, raw_path, query or b"", version, headers, length, body)


_SPICES: Final = [
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b"\0", b"\t", b" ", b":", b";", b",", b"\x0b", b"\x7f", b"\x80",
    b"\xff", b"0", b"1", b"5", b"f", b"-", b"+", b"0x", b"?", b"#", b"*", b"%00", b"HTTP/1.0", b"HTTP/1.1",
    b"HTTP/2.0", b"GET / HTTP/1.1\r\n", b"Host: a\r\n", b"Host:", b"Content-Length: 5\r\n", b"content-length:",
    b"Transfer-Encoding: chunked\r\n", b"transfer-encoding:", b"chunked", b"Connection: close\r\n", b"close",
    b"keep-alive", b"upgrade", b"Expect: 100-continue\r\n", b"TE: trailers\r\n", b"http://a", b"CONNECT ",
    b"OPTIONS * ", b"0\r\n\r\n", b"5\r\nhello\r\n",
]  # fmt: skip


@st.composite
def mutated_wires(draw: st.DrawFn) -> bytes:
    """Requests that are fine, with a few bytes put in, taken out or changed."""
    wire = b"".join(sent.wire for sent in draw(st.lists(sent_requests(), min_size=1, max_size=2)))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(wire)))
        end = min(len(wire), start + draw(st.sampled_from([0, 0, 0, 1, 1, 2, 5])))
        wire = wire[:start] + draw(st.sampled_from(_SPICES) | st.binary(max_size=2)) + wire[end:]
    return wire


def arbitrary_wires() -> st.SearchStrategy[bytes]:
    """Bytes that need not look like anything."""
    return st.one_of(st.binary(max_size=60), st.lists(st.sampled_from(_SPICES), max_size=20).map(b"".join))


def _either(*parts: Any) -> st.SearchStrategy[bytes]:
    return st.sampled_from(parts)


@st.composite
def framing_wires(draw: st.DrawFn) -> bytes:
    """Heads that say where their body ends in every dubious manner, and bodies to go with them."""
    names = _either(
        b"Content-Length", b"content-length", b"Transfer-Encoding", b"TRANSFER-ENCODING", b"Host", b"Connection",
        b"Trailer", b"X",
    )  # fmt: skip
    values = _either(
        b"5", b"5", b"05", b"0", b"5, 5", b"5,", b"+5", b"-5", b"0x5", b"5 5", b"chunked", b"chunked", b"Chunked",
        b"chunked,", b"gzip, chunked", b"chunked, chunked", b"identity", b'"chunked"', b"chunked;q=1", b"", b"\x80",
        b"99999999999999999999", b"close", b"a",
    )  # fmt: skip
    colons = _either(b": ", b": ", b": ", b": ", b":", b":\t", b" : ", b"\t:", b"", b":\r\n ", b":\x0b", b":\0")
    ends = _either(b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\r\n", b" \r\n", b"\n", b"\r", b"\r\r\n", b"\0\r\n", b"\r\n ")
    line = draw(_either(b"POST / HTTP/1.1", b"POST / HTTP/1.1", b"GET / HTTP/1.1", b"POST / HTTP/1.0"))
    wire = line + b"\r\n" + draw(_either(b"Host: a\r\n", b"Host: a\r\n", b""))
    for _ in range(draw(st.integers(1, 3))):
        wire += draw(names) + draw(colons) + draw(values) + draw(ends)
    wire += b"\r\n"
    sizes = _either(
        b"5", b"5", b"5", b"05", b"0", b"0", b"6", b"5;a", b"5 ", b" 5", b"0x5", b"-5", b"+5", b"", b"5;\n", b"5\0",
        b"5;", b"5 ;a", b"5;a=", b'5;a="', b'5;a="b"',
    )
    chunk_ends = _either(b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"", b"\r\r\n")
    for _ in range(draw(st.integers(0, 3))):
        wire += draw(sizes) + draw(chunk_ends) + draw(_either(b"hello", b"hello", b"", b"X: y")) + draw(chunk_ends)
    return wire + draw(_either(b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"", b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"))
