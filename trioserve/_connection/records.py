"""What recorders are told about: an answered request and a closed WebSocket, as far as they can see them."""

from contextvars import Context
from typing import Any, Final, Protocol

from trioserve._protocol import RequestHead
from trioserve._streams import Address

__all__ = [
    "CLIENT_GONE", "Answered", "ClosedSession", "ClosedWebSocket", "InProgress", "MessageCounts", "Recorded",
    "RecordedRequest", "SentResponse", "status_of",
]

CLIENT_GONE: Final = 499  # nginx's status for a client that left before it got an answer


class SentResponse(Protocol):
    """A response, as far as it came."""

    @property
    def state(self) -> int:
        """How far that is: one of the states in ``trioserve._asgi``."""

    @property
    def status(self) -> int:
        """What the application said, sent or not."""

    @property
    def body_bytes(self) -> int:
        """Of the body, without its framing."""

    def field(self, name: bytes) -> bytes | None:
        """The first field of that name, in lower case, among those that the application gave."""


class RecordedRequest(Protocol):
    """Who asked for what."""

    @property
    def head(self) -> RequestHead:
        """What the client asked for."""

    def run_in_context(self, function: Any, *args: Any) -> None:
        """Call ``function`` with the application's context variables, as far as there are any."""


class Recorded(Protocol):
    """What every record has."""

    @property
    def request(self) -> RecordedRequest:
        """For whoever is called too often to go through the properties below."""

    @property
    def head(self) -> RequestHead:
        """The request."""

    @property
    def client(self) -> Address | None:
        """Who asked, as the application sees it in the scope."""

    @property
    def peer(self) -> Address | None:
        """Who is at the other end of the connection: the client, or the last proxy."""

    @property
    def end_reason(self) -> str:
        """Why it was ended before its time; empty otherwise."""

    @property
    def context(self) -> Context | None:
        """The context variables of its application; ``None`` if that has not been called."""

    def request_id(self) -> str | None:
        """The name of the request; ``None`` when requests have none."""

    def trace(self) -> tuple[str, str] | None:
        """The trace that it belongs to and a span in it, by their ids; ``None`` when there is none."""


class Answered(Recorded, Protocol):
    """A request that has its response, or will never have one."""

    @property
    def response(self) -> SentResponse:
        """What the application answered, perhaps nothing."""

    @property
    def final_status(self) -> int:
        """What the client gets to see; 0 when it got nothing."""

    @property
    def request_body_bytes(self) -> int:
        """How much of its body has come; over HTTP/1.1, how much the application has taken."""

    @property
    def client_left(self) -> bool:
        """So sending was bound to fail."""

    @property
    def left_first(self) -> bool:
        """The client had left when the server wanted to end the request."""

    @property
    def is_open(self) -> bool:
        """It was the handshake of a WebSocket, which begins now."""


def status_of(answered: Answered) -> int:
    """What the client got; without an answer 499 if it left, 0 if we ended the request. Lines and metrics say so."""
    if status := answered.final_status:
        return status
    return CLIENT_GONE if answered.left_first or answered.end_reason in ("", "client-disconnect") else 0


class MessageCounts(Protocol):
    """What went through a WebSocket; bytes are those of the payloads as they were on the wire."""

    @property
    def received_messages(self) -> int: ...

    @property
    def received_bytes(self) -> int: ...

    @property
    def sent_messages(self) -> int: ...

    @property
    def sent_bytes(self) -> int: ...


class InProgress(Protocol):
    """A request that has no answer yet, or a WebSocket."""

    @property
    def messages(self) -> MessageCounts | None:
        """What has gone through an open WebSocket; ``None`` for a request, be it a handshake."""


class ClosedSession(Protocol):
    """How a WebSocket ended."""

    @property
    def close_code(self) -> int:
        """RFC 6455 §7.1.5."""

    @property
    def codec(self) -> MessageCounts | None:
        """It is there when the handshake was accepted, and has counted."""


class ClosedWebSocket(Recorded, Protocol):
    """A WebSocket that was accepted and has come to its end."""

    @property
    def session(self) -> ClosedSession:
        """What its messages say."""
