"""Requests that one reader could take for something else than another: refused, never guessed (RFC 9112 §11.2).

Each family hides a second request. What must not happen is that the hidden one is run.
"""

import pytest

from tests.helpers.wire_feeding import ENGINES, Reading, read_every_way, read_wire, request
from trioserve._protocol import ParseFields

pytestmark = pytest.mark.parametrize("engine", ENGINES)

POST = b"POST / HTTP/1.1"
HIDDEN = request(line=b"GET /hidden HTTP/1.1", host=b"Host: b")
LAST_CHUNK = b"0\r\n\r\n"


def was_not_fooled(reading: Reading) -> bool:
    return reading.refused is not None and all(head.path != "/hidden" for head in reading.heads)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param((b"Content-Length: 5", b"Transfer-Encoding: chunked"), id="CL.TE"),
        pytest.param((b"Transfer-Encoding: chunked", b"Content-Length: 5"), id="TE.CL"),
        pytest.param((b"Content-Length: 0", b"Transfer-Encoding: chunked"), id="CL.TE, length 0"),
        pytest.param((b"Transfer-Encoding: chunked", b"Content-Length:"), id="TE.CL, empty"),
        pytest.param((b"Content-Length: 5", b"Transfer-Encoding: identity"), id="CL.TE, identity"),
        pytest.param((b"Content-Length: 5", b"Transfer-Encoding: x"), id="CL.TE, unknown coding"),
        pytest.param((b"Content-Length: 5", b"Transfer-Encoding:"), id="CL.TE, empty coding"),
        pytest.param((b"Content-Length: 5", b"Transfer-Encoding : chunked"), id="CL.TE, space before the colon"),
        pytest.param((b"Content-Length: 5", b"Transfer-Encoding\t: chunked"), id="CL.TE, tab before the colon"),
        pytest.param((b"Content-Length: 5", b" Transfer-Encoding: chunked"), id="CL.TE, indented"),
        pytest.param((b"Content-Length: 5", b"X: a\r\n Transfer-Encoding: chunked"), id="CL.TE, folded away"),
        pytest.param((b"Content-Length: 5", b"Transfer-Encoding:\r\n chunked"), id="CL.TE, folded value"),
        pytest.param((b"Content-Length: 5", b"X: a\nTransfer-Encoding: chunked"), id="CL.TE, behind a bare LF"),
        pytest.param((b"Content-Length: 5", b"X: a\rTransfer-Encoding: chunked"), id="CL.TE, behind a bare CR"),
        pytest.param((b"Content-Length: 5", b"Transfer-Encoding: \x0bchunked"), id="CL.TE, vertical tab"),
        pytest.param((b"Content-Length: 5", b"Transfer-Encoding: chunked\0"), id="CL.TE, NUL"),
        pytest.param((b"Content-Length: 5", b"\0Transfer-Encoding: chunked"), id="CL.TE, NUL before the name"),
        pytest.param((b"Content-Length: 5", b"Transfer-Encoding"), id="CL.TE, no colon"),
        pytest.param((b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"), id="TE.TE, identity last"),
        pytest.param((b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked"), id="TE.TE, chunked last"),
        pytest.param((b"Transfer-Encoding: chunked", b"Transfer-encoding: x"), id="TE.TE, another case"),
        pytest.param((b"Transfer-Encoding: chunked", b"Transfer-Encoding : x"), id="TE.TE, space before the colon"),
        pytest.param((b"Transfer-Encoding: chunked, identity",), id="TE, chunked is not the last"),
        pytest.param((b"Transfer-Encoding: identity, chunked",), id="TE, chunked is not the only one"),
        pytest.param((b"Transfer-Encoding: xchunked",), id="TE, ends in chunked"),
        pytest.param((b"Transfer-Encoding: chunked x",), id="TE, starts with chunked"),
        pytest.param((b"Transfer-Encoding: \xffchunked",), id="TE, obs-text before"),
        pytest.param((b"Content-Length: 5", b"Content-Length: 0"), id="CL.CL"),
        pytest.param((b"Content-Length: 5", b"Content-Length: 5"), id="CL.CL, equal"),
        pytest.param((b"Content-Length: 5, 0",), id="CL, list"),
        pytest.param((b"Content-Length: 5, 5",), id="CL, list of equal ones"),
        pytest.param((b"Content-Length: 5 0",), id="CL, space"),
        pytest.param((b"Content-Length: +5",), id="CL, plus"),
        pytest.param((b"Content-Length: -5",), id="CL, minus"),
        pytest.param((b"Content-Length: 0x5",), id="CL, hexadecimal"),
        pytest.param((b"Content-Length: 5\0",), id="CL, NUL"),
        pytest.param((b"Content-Length: 5\x0b",), id="CL, vertical tab"),
        pytest.param((b"Content-Length : 5",), id="CL, space before the colon"),
        pytest.param((b"Content-Length: 18446744073709551621",), id="CL, 5 modulo 2**64"),
        pytest.param((b"Content-Length: 4294967301, 5",), id="CL, 5 modulo 2**32 in a list"),
        pytest.param((b"X: a\r\n\tContent-Length: 5",), id="CL, folded away"),
        pytest.param((b"X: a\rContent-Length: 5",), id="CL, behind a bare CR"),
        pytest.param((b"X: a\nContent-Length: 5",), id="CL, behind a bare LF"),
        pytest.param((b"Host: b",), id="Host twice"),
        pytest.param((b"Host : b",), id="Host, space before the colon"),
        pytest.param((b" Host: b",), id="Host, indented"),
    ],
)
def test_11_2_framing_that_can_be_read_in_two_ways(engine: ParseFields, fields: tuple[bytes, ...]) -> None:
    wire = request(*fields, line=POST, body=LAST_CHUNK + HIDDEN)
    reading = read_wire(engine, [wire])
    assert reading.heads == []
    assert was_not_fooled(reading)
    for cut in range(1, len(wire)):
        assert read_wire(engine, [wire[:cut], wire[cut:]]).verdict == reading.verdict


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"0\n\n" + HIDDEN, id="LF ends the last chunk"),
        pytest.param(b"0\r\r" + HIDDEN, id="CR ends the last chunk"),
        pytest.param(b"0\r\n\n" + HIDDEN, id="LF ends the trailers"),
        pytest.param(b"0\r\n\r" + HIDDEN, id="CR ends the trailers"),
        pytest.param(b"0 \r\n\r\n" + HIDDEN, id="space after the size"),
        pytest.param(b" 0\r\n\r\n" + HIDDEN, id="space before the size"),
        pytest.param(b"0x0\r\n\r\n" + HIDDEN, id="0x"),
        pytest.param(b"-0\r\n\r\n" + HIDDEN, id="minus zero"),
        pytest.param(b"+0\r\n\r\n" + HIDDEN, id="plus zero"),
        pytest.param(b"\r\n0\r\n\r\n" + HIDDEN, id="empty line before the size"),
        pytest.param(b"10000000000000000\r\n\r\n" + HIDDEN, id="0 modulo 2**64"),
        pytest.param(b"5;\nxx\r\nhello\r\n0\r\n\r\n" + HIDDEN, id="LF in an extension (TERM.EXT)"),
        pytest.param(b"5;\rxx\r\nhello\r\n0\r\n\r\n" + HIDDEN, id="CR in an extension"),
        pytest.param(b'5;a="\r\nb"\r\nhello\r\n0\r\n\r\n' + HIDDEN, id="CRLF in a quoted value"),
        pytest.param(b"5\r\nhelloXX0\r\n\r\n" + HIDDEN, id="two bytes instead of CRLF (spill)"),
        pytest.param(b"5\r\nhello\n0\r\n\r\n" + HIDDEN, id="LF after the data"),
        pytest.param(b"5\r\nhello0\r\n\r\n" + HIDDEN, id="nothing after the data"),
        pytest.param(b"5\r\nhello\r\n" + HIDDEN, id="no last chunk"),
        pytest.param(b"0\r\n" + HIDDEN, id="no end of the trailers"),
        pytest.param(b"0\r\nX: a\n" + HIDDEN, id="LF ends a trailer field"),
        pytest.param(b"0\r\nX: a\r" + HIDDEN, id="CR ends a trailer field"),
        pytest.param(b"0\r\nX : a\r\n\r\n" + HIDDEN, id="space before the colon of a trailer"),
        pytest.param(b"0\r\n X: a\r\n\r\n" + HIDDEN, id="indented trailer"),
        pytest.param(b"0\r\nX: a\r\n b\r\n\r\n" + HIDDEN, id="folded trailer"),
    ],
)
def test_11_2_chunks_that_can_be_read_in_two_ways(engine: ParseFields, body: bytes) -> None:
    assert was_not_fooled(read_every_way(engine, request(b"Transfer-Encoding: chunked", line=POST, body=body)))


@pytest.mark.parametrize("name", [b"Content-Length", b"Transfer-Encoding", b"Host"])
def test_11_2_trailers_do_not_frame_the_next_request(engine: ParseFields, name: bytes) -> None:
    value = b"chunked" if name == b"Transfer-Encoding" else b"%d" % len(HIDDEN)
    body = b"0\r\n" + name + b": " + value + b"\r\n\r\n"
    reading = read_every_way(engine, request(b"Transfer-Encoding: chunked", line=POST, body=body) + HIDDEN)
    assert [path for _, path, _ in reading.requests] == ["/", "/hidden"]  # both were sent, and none was hidden


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"TRACE"])
def test_11_2_a_method_without_meaning_for_a_body_hides_none(engine: ParseFields, method: bytes) -> None:
    wire = request(b"Content-Length: %d" % len(HIDDEN), line=method + b" / HTTP/1.1", body=HIDDEN)
    reading = read_every_way(engine, wire)
    assert reading.requests == [(method.decode(), "/", HIDDEN)]


def test_11_2_an_upgrade_hides_nothing(engine: ParseFields) -> None:
    fields = (b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: %d" % len(HIDDEN))
    reading = read_every_way(engine, request(*fields, line=POST, body=HIDDEN))
    assert reading.requests == [("POST", "/", HIDDEN)]


@pytest.mark.parametrize("code", [*range(0x20), 0x7F])
@pytest.mark.parametrize("line", [b"X: a%cTransfer-Encoding: chunked", b"%cTransfer-Encoding: chunked",
                                  b"Transfer-Encoding%c: chunked", b"Transfer-Encoding: %cchunked"])  # fmt: skip
def test_11_2_control_characters_around_transfer_encoding(engine: ParseFields, line: bytes, code: int) -> None:
    """Only white space around a value is no part of it."""
    reading = read_wire(engine, [request(line % code, b"Content-Length: 5", line=POST, body=LAST_CHUNK + HIDDEN)])
    if code == 0x09 and line.startswith(b"X"):
        assert reading.bodies[0] == LAST_CHUNK  # a tab inside a value: X says something, Content-Length counts
    else:
        assert was_not_fooled(reading)
