"""Make responses from ASGI messages, and read their bytes as a client would: with h11, which is not ours."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import h11

from tests.helpers.wire_feeding import REFERENCE_ENGINE
from trioserve._asgi import Dated
from trioserve._asgi.http1_response import Http1Response
from trioserve._protocol import Http1Codec, Http1Limits, RequestHead

__all__ = [
    "STANDING", "Answer", "ClientView", "answer", "body", "early_hint", "head_of", "read_response", "repeated_head",
    "standing_fields", "start", "trailers",
]  # fmt: skip

Headers = Iterable[tuple[bytes, bytes]]

STANDING: Final = [(b"date", b"Thu, 01 Jan 1970 00:00:00 GMT"), (b"server", b"tested")]


def standing_fields(response: Dated) -> bytes:
    """What every response gets, and the empty line."""
    own = {b"date": response.has_date, b"server": response.has_server}
    return b"".join(b"%b: %b\r\n" % (name, value) for name, value in STANDING if not own[name]) + b"\r\n"


def head_of(*fields: bytes, method: str = "GET", target: str = "/", version: str = "1.1") -> RequestHead:
    """The head of a request, read from the wire."""
    codec = Http1Codec(REFERENCE_ENGINE, Http1Limits())
    lines = [f"{method} {target} HTTP/{version}".encode(), b"Host: a", *fields]
    codec.receive_data(b"\r\n".join(lines) + b"\r\n\r\n")
    head = codec.next_head()
    assert head is not None
    return head


def repeated_head(method: str = "GET", version: str = "1.1") -> RequestHead:
    """The head of a request that is made again and again: answers to it may be remembered."""
    head = head_of(method=method, version=version)
    head.answer = ()
    return head


def start(status: Any = 200, headers: Any = (), **others: Any) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers, **others}


def body(data: Any = b"", *, more: Any = False, **others: Any) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more, **others}


def trailers(headers: Any = (), *, more: Any = False) -> dict[str, Any]:
    return {"type": "http.response.trailers", "headers": headers, "more_trailers": more}


def early_hint(*links: Any) -> dict[str, Any]:
    return {"type": "http.response.early_hint", "links": links}


@dataclass(slots=True)
class Answer:
    """A response with the bytes that it has put on the wire so far."""

    response: Http1Response
    method: str = "GET"
    wire: bytes = b""

    def send(self, message: Any) -> bytes:
        """What one message puts on the wire."""
        pieces: list[bytes] = []
        try:
            self.response.encode(message, pieces)
        except BaseException:
            assert pieces == []
            raise
        data = b"".join(pieces)
        self.wire += data
        return data

    def _parts(self) -> tuple[bytes, bytes]:
        """The head of the final response, and what follows it."""
        rest = self.wire
        while True:
            head, _, rest = rest.partition(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 1"):
                return head, rest

    @property
    def head_lines(self) -> list[bytes]:
        """Status line and field lines."""
        return self._parts()[0].split(b"\r\n")

    @property
    def content(self) -> bytes:
        """What follows the head, as it is on the wire."""
        return self._parts()[1]

    def values(self, name: bytes) -> list[bytes]:
        """Of all field lines with this name."""
        lines = (line.partition(b": ") for line in self.head_lines[1:])
        return [value for other, _, value in lines if other.lower() == name]

    def read(self) -> "ClientView":
        return read_response(self.wire, self.method)


def answer(*messages: Any, head: RequestHead | None = None) -> Answer:
    """The response that ``messages`` make, to a plain GET unless there is a ``head``."""
    head = head or head_of()
    made = Answer(Http1Response(head, standing_fields), head.method)
    for message in messages:
        made.send(message)
    return made


@dataclass(slots=True)
class ClientView:
    """One response as a client understands it.

    Attributes:
        reusable: the client may send another request on the same connection.
        complete_before_end: it knew that the response was over before the connection was.
    """

    status: int = 0
    reason: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    hints: list[list[tuple[bytes, bytes]]] = field(default_factory=list)
    reusable: bool = False
    complete_before_end: bool = True

    def headers_but(self, *names: bytes) -> list[tuple[bytes, bytes]]:
        return [(name, value) for name, value in self.headers if name not in names]


def read_response(wire: bytes, method: str = "GET") -> ClientView:
    """Read ``wire`` up to the end of the connection; it has to be exactly one response."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(wire)
    view = ClientView()
    while True:
        event = client.next_event()
        if event is h11.NEED_DATA:
            assert view.complete_before_end, "the response is not complete"
            view.complete_before_end = False
            client.receive_data(b"")
        elif isinstance(event, h11.InformationalResponse):
            view.hints.append(list(event.headers))
        elif isinstance(event, h11.Response):
            view.status, view.reason, view.headers = event.status_code, bytes(event.reason), list(event.headers)
        elif isinstance(event, h11.Data):
            view.body += event.data
        else:
            assert isinstance(event, h11.EndOfMessage)
            view.trailers = list(event.headers)
            break
    view.reusable = client.their_state is h11.DONE
    assert client.trailing_data[0] == b""
    return view
