"""What all HTTP/2 connections of a server share: their engine, and what a client may ask of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from trioserve._asgi import Dated
from trioserve._connection.timeouts import Timeout
from trioserve._protocol import Http1Limits
from trioserve._protocol.http2.codec import Http2Codec
from trioserve._protocol.http2.engine import NewEngine
from trioserve._protocol.http2.guard import Allowance
from trioserve._types import Fields

__all__ = ["ALLOWANCE_SECONDS", "Http2Terms"]

ALLOWANCE_SECONDS: Final = 30.0  # in which what a client has used of an allowance comes back


@dataclass(frozen=True, slots=True)
class Http2Terms:
    """One per server.

    Attributes:
        in_cleartext: a client without TLS may begin with HTTP/2 (RFC 9113 §3.3).
        max_streams: of one connection, whose applications run at the same time.
        resets: streams of one connection that may end before their time, in ``ALLOWANCE_SECONDS``.
        control_frames: frames that make no progress, likewise.
        idle: until a connection without streams is closed.
    """

    new_engine: NewEngine
    in_cleartext: bool
    standing_fields: Callable[[Dated], Fields]
    limits: Http1Limits
    max_streams: int
    resets: int | None
    control_frames: int | None
    idle: Timeout
    clock: Callable[[], float]

    def new_codec(self, *, tunnels: bool) -> Http2Codec:
        """For one connection; ``tunnels``: WebSocket is served."""
        now = self.clock()
        return Http2Codec(
            self.new_engine, self.limits, max_streams=self.max_streams, tunnels=tunnels,
            resets=Allowance(self.resets, ALLOWANCE_SECONDS, now),
            control=Allowance(self.control_frames, ALLOWANCE_SECONDS, now),
        )  # fmt: skip
