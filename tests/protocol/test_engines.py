"""The two engines are one: whatever the bytes, they refuse the same, and read the same."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.wire_feeding import ENGINES, REFERENCE_ENGINE, read_wire
from tests.helpers.wire_properties import SMALL_LIMITS, assert_wire_properties
from tests.helpers.wire_strategies import Sent, arbitrary_wires, framing_wires, mutated_wires, sent_requests
from trioserve._errors import PeerError
from trioserve._protocol import Http1Limits, ParseFields

pytestmark = pytest.mark.no_cover  # what they reach other tests reach, and tracing would double their time

thorough = settings(max_examples=400, deadline=None)

LIMITS = st.sampled_from([Http1Limits(), SMALL_LIMITS])


def cuts(data: st.DataObject, wire: bytes) -> list[int]:
    return data.draw(st.lists(st.integers(0, len(wire)), max_size=4), label="cuts")


@thorough
@given(st.lists(sent_requests(), min_size=1, max_size=3), st.data())
def test_requests_that_are_fine_are_read_as_they_were_sent(sent: list[Sent], data: st.DataObject) -> None:
    wire = b"".join(one.wire for one in sent)
    reading = assert_wire_properties(wire, cuts(data, wire))
    assert reading.refused is None, reading.reason
    assert reading.bodies == [one.body for one in sent]
    for head, one in zip(reading.heads, sent, strict=True):
        assert (head.method, head.raw_path, head.query_string) == (one.method.upper(), one.raw_path, one.query_string)
        assert (head.http_version, head.headers, head.content_length) == (
            one.http_version, one.headers, one.content_length,
        )  # fmt: skip


@thorough
@given(mutated_wires(), LIMITS, st.data())
def test_requests_that_are_nearly_fine(wire: bytes, limits: Http1Limits, data: st.DataObject) -> None:
    assert_wire_properties(wire, cuts(data, wire), limits)


@thorough
@given(framing_wires(), LIMITS, st.data())
def test_framing_in_every_dubious_manner(wire: bytes, limits: Http1Limits, data: st.DataObject) -> None:
    assert_wire_properties(wire, cuts(data, wire), limits)


@thorough
@given(arbitrary_wires(), LIMITS, st.data())
def test_bytes_that_look_like_nothing(wire: bytes, limits: Http1Limits, data: st.DataObject) -> None:
    assert_wire_properties(wire, cuts(data, wire), limits)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=3000), st.lists(st.integers(1, 500), min_size=1, max_size=8))
def test_a_body_arrives_whole_however_it_was_cut_into_chunks(body: bytes, sizes: list[int]) -> None:
    wire, rest = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", body
    for size in sizes:
        if rest:
            wire += b"%x\r\n%b\r\n" % (len(rest[:size]), rest[:size])
            rest = rest[size:]
    wire += b"%x\r\n%b\r\n0\r\n\r\n" % (len(rest), rest) if rest else b"0\r\n\r\n"
    assert assert_wire_properties(wire, [len(wire) // 2]).bodies == [body]


@pytest.mark.parametrize("head", [b"", b"\r\n\r\n", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_the_reference_engine_refuses_what_is_no_whole_head(head: bytes) -> None:
    with pytest.raises(PeerError):
        REFERENCE_ENGINE(head)


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_is_kept_of_what_has_been_read(engine: ParseFields) -> None:
    wire = 500 * b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    reading = read_wire(engine, [wire[i : i + 100] for i in range(0, len(wire), 100)])
    assert reading.complete == 500
    assert reading.most_held < 100
