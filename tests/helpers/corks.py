"""Streams whose sockets can hold back what is sent, and a look at their corks."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.helpers.stream_pairs import KINDS, PROXIED_KINDS, Kind, Pair, connected, eventually
from trioserve._streams import ByteStream
from trioserve._streams.cork import Cork

__all__ = [
    "ALL_OF_HELD", "ALL_OF_LARGE", "CORKED_KINDS", "HELD", "LARGE", "Clock", "bursting_only", "clear_only",
    "cork_of", "corked", "is_closed", "socket_of", "socket_stream",
]

LARGE = [b"%d" % (number % 10) * 5000 for number in range(200)]  # 1 MB, more than all buffers on the way
ALL_OF_LARGE = b"".join(LARGE)

HELD = LARGE[:13]  # as much as can be held; still more than all buffers on the way
ALL_OF_HELD = b"".join(HELD)

CORKED_KINDS = [kind for kind in [*KINDS, *PROXIED_KINDS] if kind.network is not None]
CLEAR_KINDS = [kind for kind in CORKED_KINDS if not kind.tls]  # TLS says that it closes, so it is never closed corked
BURSTING_KINDS = [kind for kind in CLEAR_KINDS if not kind.proxied and kind.name != "trio-plain"]

clear_only = pytest.mark.parametrize("kind", CLEAR_KINDS, ids=str, indirect=True)
bursting_only = pytest.mark.parametrize("kind", BURSTING_KINDS, ids=str, indirect=True)


class Clock:
    """Stands in for ``time.perf_counter``: a slow machine shall not pull out a cork."""

    def __init__(self) -> None:
        self.now = 100.0  # seconds

    def __call__(self) -> float:
        return self.now


def socket_stream(stream: Any) -> Any:
    """The stream at the bottom."""
    while not hasattr(stream, "_cork"):
        stream = stream._inner if hasattr(stream, "_inner") else stream._stream
    return stream


def cork_of(stream: ByteStream) -> Cork:
    cork: Cork = socket_stream(stream)._cork
    return cork


def socket_of(stream: ByteStream) -> socket.socket:
    sock: socket.socket = socket_stream(stream)._sock
    return sock


def is_closed(stream: ByteStream) -> bool:
    """The descriptor is given back."""
    return socket_of(stream).fileno() < 0


@asynccontextmanager
async def corked(kind: Kind) -> AsyncIterator[tuple[Pair, Cork]]:
    """A connection whose cork is in until somebody pulls it out."""
    async with connected(kind) as pair:
        cork = cork_of(pair.stream)
        await eventually(lambda: not cork.is_in)  # the turn of a handshake is over
        cork.push_in()
        try:
            yield pair, cork
        finally:
            cork.pull_out()
