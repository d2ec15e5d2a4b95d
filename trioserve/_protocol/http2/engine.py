"""What an HTTP/2 engine does for a connection, and what it tells.

An engine (``engine_ngh2``, ``engine_h2``) reads and writes frames, compresses fields, counts windows and decides whose
turn it is to send. It does no more: what a request means, how much a client may ask for and what is answered exists
once, outside.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from trioserve._types import Fields

__all__ = ["EngineTerms", "Http2Engine", "Http2Events", "NewEngine"]


@dataclass(frozen=True, slots=True)
class EngineTerms:
    """What an engine holds the client to. Whoever makes the engine tells the client.

    Attributes:
        settings: by their numbers (RFC 9113 §6.5.2); of streams it admits more than the client is told, because one
            too many is refused, and not the end of the connection.
        connection_window: bytes of bodies that the client may send, of all streams, until some are acknowledged.
        head_bytes: of a field section, beyond which the connection is ended, as RFC 9113 §6.5.2 counts them.
    """

    settings: dict[int, int]
    connection_window: int
    head_bytes: int


class Http2Events(Protocol):
    """Is told what a client has sent: plain calls, in order. They may call the engine, but for ``receive_data``.

    A request that was reset before anybody could hear of it is none.
    """

    def on_request(self, stream_id: int, fields: Fields, ends: bool) -> None:
        """A request has begun. ``fields``: as they came, pseudo-header fields included. ``ends``: it has no body."""

    def on_body(self, stream_id: int, data: bytes, ends: bool) -> None:
        """A part of a body, which may be empty; ``ends``: the last one. Trailer fields are dropped."""

    def is_open(self, stream_id: int) -> bool:
        """Trailer fields may come on this stream."""

    def is_answered(self, stream_id: int) -> bool:
        """The client has got something of an answer on this stream, which is open."""

    def on_reset(self, stream_id: int, *, provoked: bool) -> None:
        """Nothing comes on this stream any more, and nothing can be sent on it.

        ``provoked``: the client broke a rule, and it was the engine that reset it. The stream may be unknown.
        """

    def on_pong(self) -> None:
        """A ping of ours was answered."""


class Http2Engine(Protocol):
    """One connection, server side. Field names are in lower case.

    Calls about a stream are allowed until ``on_reset`` has been called for it, or it is ``broken_off``, or both sides
    have ended it.

    Attributes:
        is_over: nothing more will be read. What was sent last is a GOAWAY, because the client broke the protocol; or
            the client has sent one, and its streams have ended.
        has_failed: an error was the end of it, and it cannot be asked to send any more.
        table_bytes: the size of the table that fields are sent with (RFC 7541 §4.2).
        broken_off: streams that the engine has reset by itself while data was taken out. ``receive_data`` tells of them
            as of others, but nothing can be sent on them from now on.
    """

    has_failed: bool

    @property
    def is_over(self) -> bool: ...
    @property
    def table_bytes(self) -> int: ...
    @property
    def broken_off(self) -> Sequence[int]: ...

    def receive_data(self, data: bytes, events: Http2Events) -> None:
        """Take bytes from the wire, and tell what is in them.

        Raises:
            Http2Error: the client broke the protocol, and the engine has not said so; see also ``is_over``.
        """

    def data_to_send(self, amount: int) -> bytes:
        """At most ``amount`` bytes, as far as windows allow, which may end within a frame; empty if there are none."""

    def send_informational_response(self, stream_id: int, headers: Iterable[tuple[bytes, bytes]]) -> None: ...
    def send_response(
        self, stream_id: int, headers: Iterable[tuple[bytes, bytes]], *, end_stream: bool = False
    ) -> None: ...
    def send_data(self, stream_id: int, data: bytes, *, end_stream: bool = False) -> None:
        """Queue all of ``data``, without bound: callers look at ``queued_body_size``."""

    def send_trailers(self, stream_id: int, headers: Iterable[tuple[bytes, bytes]]) -> None: ...
    def end_stream(self, stream_id: int) -> None: ...

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        """Nothing that is queued for it will be sent."""

    def acknowledge_received_data(self, amount: int, stream_id: int) -> None:
        """So many bytes of the body have been taken: the client may send as many more."""

    def queued_body_size(self, stream_id: int) -> int:
        """Bytes that have not been sent; 0 for a stream that has gone."""

    def stream_remote_window_size(self, stream_id: int) -> int:
        """Bytes that the client takes now on this stream; not more than 0 when it is shut."""

    def holds(self, stream_id: int) -> bool:
        """The stream exists, and has not come to its end; a reset of the engine's own may still have to leave."""

    def share(self, stream_id: int) -> None:
        """Let the stream take turns with others of its urgency, unless its client has said more (RFC 9218 §10)."""


class NewEngine(Protocol):
    """The class of an engine."""

    @property
    def name(self) -> str:
        """As the option ``http2_engine`` has it."""

    def __call__(self, terms: EngineTerms) -> Http2Engine: ...
