"""What wsproto alone makes of frames, without our fast path, our limit and our frame boundaries."""

from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

from hypothesis import strategies as st
from wsproto.connection import SERVER, Connection, ConnectionState
from wsproto.events import BytesMessage, CloseConnection, TextMessage
from wsproto.events import Ping as WsprotoPing
from wsproto.events import Pong as WsprotoPong

from tests.helpers.ws_frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame
from trioserve._protocol.deflate import Deflate
from trioserve._protocol.handshake import DeflateTerms
from trioserve._protocol.websocket import Close, Ping, Pong, WebSocketCodec

__all__ = ["TERMS", "assert_same", "is_failure", "pieces_of", "wires", "wsproto_events"]

NO_LIMIT: Final = (1 << 63) - 2  # all but one of the lengths that there are
TERMS: Final = DeflateTerms(b"permessage-deflate", 15, 15, True, True)


def wsproto_events(pieces: list[bytes], terms: DeflateTerms | None = None) -> list[Any]:
    """Messages, pings, pongs and the end, in order; the end without its reason when it is a failure."""
    wsproto = Connection(SERVER, [Deflate(terms, NO_LIMIT)] if terms is not None else [])
    events: list[Any] = []
    parts: list[Any] = []
    for piece in pieces:
        if wsproto.state is not ConnectionState.OPEN or (events and isinstance(events[-1], Close)):
            break
        wsproto.receive_data(piece)
        for event in wsproto.events():
            if isinstance(event, TextMessage | BytesMessage):
                parts.append(event.data if isinstance(event, TextMessage) else bytes(event.data))
                if event.message_finished:
                    events.append(parts[0][:0].join(parts))
                    parts = []
            elif isinstance(event, WsprotoPing):
                events.append(Ping(bytes(event.payload)))
            elif isinstance(event, WsprotoPong):
                events.append(Pong(bytes(event.payload)))
            elif isinstance(event, CloseConnection):
                failed = wsproto.state is ConnectionState.OPEN
                events.append(Close(int(event.code), "" if failed else event.reason or "", failed))
    return events


def our_events(pieces: list[bytes], terms: DeflateTerms | None = None) -> list[Any]:
    codec = WebSocketCodec(NO_LIMIT, terms)
    events: list[Any] = []
    for piece in pieces:
        codec.receive_data(piece)
        while (event := codec.next_event()) is not None:
            events.append(Close(event.code, "", True) if isinstance(event, Close) and event.failed else event)
    return events


def assert_same(wire: bytes, cuts: list[int], terms: DeflateTerms | None = None) -> list[Any]:
    """We and wsproto alone agree on ``wire``, whole and in pieces; returns what it is.

    With two mistakes in one frame the cuts decide which of them wsproto sees first, and so the code.
    """
    whole, in_pieces = our_events([wire], terms), our_events(pieces := pieces_of(wire, cuts), terms)
    assert whole == wsproto_events([wire], terms)
    assert in_pieces == wsproto_events(pieces, terms), pieces
    assert [replace(event, code=0) if is_failure(event) else event for event in in_pieces] == [
        replace(event, code=0) if is_failure(event) else event for event in whole]
    return whole


def is_failure(event: Any) -> bool:
    return isinstance(event, Close) and event.failed


def pieces_of(wire: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted({cut % (len(wire) + 1) for cut in cuts}), len(wire)]
    return [wire[start:end] for start, end in pairwise(edges) if start < end]


_opcodes = st.sampled_from([TEXT, TEXT, TEXT, BINARY, BINARY, CONTINUATION, CONTINUATION, PING, PONG, CLOSE])
_payloads = st.one_of(
    st.binary(max_size=40), st.text(max_size=20).map(str.encode), st.integers(120, 130).map(lambda size: b"x" * size),
    st.integers(0, 65536).map(lambda code: code.to_bytes(3, "big")[1:]), st.just(b"\x03\xe8bye"),
)  # fmt: skip
_frames = st.one_of(
    st.builds(frame, _opcodes, _payloads, fin=st.sampled_from([True, True, True, False]),
              mask=st.binary(min_size=4, max_size=4)),
    st.builds(frame, st.integers(0, 15), _payloads, fin=st.booleans(), rsv=st.integers(0, 7),
              mask=st.one_of(st.none(), st.binary(min_size=4, max_size=4)), width=st.sampled_from([None, 2, 8])),
)  # fmt: skip
wires = st.one_of(
    st.lists(_frames, max_size=6).map(b"".join),
    st.tuples(st.lists(_frames, max_size=4).map(b"".join), st.binary(max_size=30)).map(b"".join),
)
