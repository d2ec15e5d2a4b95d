"""Event streams when the server stops: they have no end of their own, and their clients come back by themselves.

``EventSource`` connects again after any end (HTML, "Server-sent events", §9.2.3), and asks with GET only. What another
method gets as ``text/event-stream`` is mostly an answer that comes in pieces, and has an end.
"""

from typing import Final, Literal, TypeAlias

from trioserve._asgi import BODY, FIRST_BODY, Response

__all__ = ["EventStreams", "is_endless"]

EventStreams: TypeAlias = Literal["get", "all", "none"]
"""Those that are ended: asked for with GET, all of them, or none."""

_MEDIA_TYPE: Final = b"text/event-stream"


def is_endless(method: str, response: Response, which: EventStreams) -> bool:
    """``response``, to a request with ``method``, has begun, and is one of those event streams."""
    if which == "none" or (which == "get" and method != "GET") or not FIRST_BODY <= response.state <= BODY:
        return False
    media_type = (response.field(b"content-type") or b"").partition(b";")[0]
    return media_type.strip().lower() == _MEDIA_TYPE
