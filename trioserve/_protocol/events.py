"""What an HTTP/1.1 request head says, once it has been understood."""

from dataclasses import dataclass
from typing import Any

from trioserve._types import Fields

__all__ = ["Meaning", "RequestHead"]


@dataclass(slots=True)
class Meaning:
    """What version and field lines of a request mean for its connection and its body (RFC 9112 §6, §9).

    Attributes:
        http_version: ``"1.1"`` or ``"1.0"``.
        keep_alive: the client wants the connection to persist after this request (RFC 9112 §9.3).
        content_length: length of the body in bytes; 0 without one; ``None`` when it is chunked.
        expects_continue: the client waits for ``100 Continue`` before it sends the body (RFC 9110 §10.1.1).
        accepts_trailers: ``TE: trailers`` was sent, so trailer fields will not be lost on the way (RFC 9110 §6.5.1).
        forwarded: there are fields by which proxies tell where the request came from: Forwarded, X-Forwarded-For, ...
        offers_websocket: the client would like to go on with WebSocket (RFC 9110 §7.8; never in HTTP/1.0).
    """

    http_version: str
    keep_alive: bool
    content_length: int | None
    expects_continue: bool
    accepts_trailers: bool
    forwarded: bool = False
    offers_websocket: bool = False


class RequestHead:
    """One request line with its field lines, checked and interpreted (RFC 9112 §3, §5).

    Not to be changed, but for ``answer``: other requests may have the same head.

    Attributes:
        method: any token, in upper case as ASGI has it (HTTP specification, "HTTP Connection Scope").
        target: the request target as it came, for the log.
        path: percent-decoded, then UTF-8 decoded; bytes that are no UTF-8 become U+FFFD.
        raw_path: the path exactly as it came, without the query.
        query_string: what follows the first ``?``, or ``b""``.
        headers: field lines in order, names in lower case, values without surrounding white space.
        meaning: what they mean.
        answer: what the response layer remembers of the last answer to this very head. ``None``: the head is met
            once; ``()``: it is repeated, and has had no answer that can be remembered.
    """

    __slots__ = ("answer", "headers", "meaning", "method", "path", "query_string", "raw_path", "target")

    def __init__(
        self, method: str, target: bytes, path: str, raw_path: bytes, query_string: bytes, headers: Fields,
        meaning: Meaning,
    ) -> None:  # fmt: skip
        self.method = method
        self.target = target
        self.path = path
        self.raw_path = raw_path
        self.query_string = query_string
        self.headers = headers
        self.meaning = meaning
        self.answer: Any = None

    def __repr__(self) -> str:
        return f"<RequestHead {self.method} {self.target!r} HTTP/{self.meaning.http_version}>"
