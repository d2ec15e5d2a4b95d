"""Fields mean the same, whichever others stand beside them and however they are read."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioserve._errors import PeerError
from trioserve._protocol import Http1Limits
from trioserve._protocol.events import Meaning
from trioserve._protocol.http2.head import HeadReader
from trioserve._protocol.meaning import interpret
from trioserve._types import Fields

FIELDS = st.lists(st.sampled_from([
    (b"x", b"1"), (b"content-length", b"0"), (b"content-length", b"5"), (b"content-length", b"x"),
    (b"te", b"trailers"), (b"te", b"gzip"), (b"x-forwarded-for", b"192.0.2.1"), (b"forwarded", b"for=a"),
    (b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"expect", b"100-continue"), (b"host", b"a"),
]), max_size=6)
OF_HTTP1 = st.sampled_from([
    (b"connection", b"keep-alive"), (b"connection", b"close"), (b"connection", b"upgrade"),
    (b"upgrade", b"websocket"), (b"transfer-encoding", b"chunked"),
])
PSEUDO: Fields = [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"a"), (b":path", b"/")]


def meaning_in_http1(fields: Fields, version: str) -> Meaning | int:
    """The meaning, or the status of the refusal."""
    try:
        return interpret(fields, version)
    except PeerError as exc:
        return exc.status


@given(FIELDS, st.lists(OF_HTTP1, max_size=3), st.sampled_from(["1.0", "1.1"]))
def test_a_field_that_says_nothing_changes_nothing(common: Fields, more: Fields, version: str) -> None:
    """With an Expect that is none, no head is an ordinary one, which is read in one pass."""
    fields = [*common, *more]
    assert meaning_in_http1([*fields, (b"expect", b"nothing")], version) == meaning_in_http1(fields, version)


def read_in_http2(fields: Fields, *, ends: bool) -> tuple[Fields, Meaning] | int:
    """Fields and meaning of a request, or the status of its refusal."""
    try:
        head = HeadReader(Http1Limits(body=4), tunnels=False).read([*PSEUDO, *fields], ends=ends)
    except PeerError as exc:
        return exc.status
    return [field for field in head.headers if field != (b"expect", b"nothing")], replace(head.meaning)


@given(FIELDS, st.booleans())
def test_a_field_that_says_nothing_changes_nothing_in_http2(fields: Fields, ends: bool) -> None:
    """Likewise: such a head is put together field by field."""
    unusual = read_in_http2([*fields, (b"expect", b"nothing")], ends=ends)
    assert unusual == read_in_http2(fields, ends=ends)


@pytest.mark.parametrize("length", [b"", b"-1", b"+1", b"1 1", b"9" * 19, "\u0665".encode()])
def test_9110_8_6_no_length(length: bytes) -> None:
    assert meaning_in_http1([(b"host", b"a"), (b"content-length", length)], "1.1") == 400
    assert read_in_http2([(b"content-length", length)], ends=False) == 400
