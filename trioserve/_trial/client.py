"""A small HTTP/1.1 client over a stream, and what it expects of an answer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import anyio
import h11

__all__ = ["Answer", "Expectation", "TrialRequest", "ask"]

HOST: Final = "testserver"


class Stream(Protocol):
    """The client's end of a connection, as anyio has it."""

    async def send(self, item: bytes) -> None: ...
    async def receive(self) -> bytes: ...


@dataclass(frozen=True)
class TrialRequest:
    """What a client sends."""

    method: str = "GET"
    target: str = "/"
    body: bytes = b""

    @classmethod
    def parse(cls, text: str) -> "TrialRequest":
        """Read ``"POST /items a body"``. Raises ValueError, with what is wrong and what would be right."""
        method, _, rest = text.strip().partition(" ")
        target, _, body = rest.partition(" ")
        if not method.isalpha() or not target.startswith("/") or not target.isascii() or not target.isprintable():
            raise ValueError(f"{text!r} is no request: METHOD PATH [BODY], such as 'POST /items {{}}', is expected")
        return cls(method.upper(), target, body.encode())

    def __str__(self) -> str:
        return f"{self.method} {self.target}"


@dataclass
class Answer:
    """What came back. ``status`` is 0 while there is nothing; ``complete`` says whether the end has come."""

    status: int = 0
    fields: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    complete: bool = False

    def __str__(self) -> str:
        return "nothing" if not self.status else f"{self.status}" if self.complete else f"{self.status}, cut short"


async def ask(stream: Stream, request: TrialRequest, answer: Answer, *, whole: bool = True) -> None:
    """Send ``request`` and read until the answer ends, one way or the other; ``answer`` has what has come so far.

    If it shall not be ``whole``, the second half of its body is never sent.
    """
    client = h11.Connection(h11.CLIENT)
    head = h11.Request(method=request.method, target=request.target, headers=_fields(request))
    try:
        data = client.send(head) + request.body
        client.send(h11.Data(data=request.body))
        client.send(h11.EndOfMessage())
        await stream.send(data if whole else data[: len(data) - (len(request.body) + 1) // 2])
        while True:
            event = client.next_event()
            if event is h11.NEED_DATA:
                client.receive_data(await _received(stream))
            elif isinstance(event, h11.Response):
                answer.status, answer.fields = event.status_code, dict(event.headers)
            elif isinstance(event, h11.Data):
                answer.body += event.data
            elif isinstance(event, h11.EndOfMessage):
                answer.complete = True
                return
            elif isinstance(event, h11.ConnectionClosed):
                return
    except (anyio.BrokenResourceError, anyio.ClosedResourceError, h11.RemoteProtocolError):
        return  # the connection has ended in the middle


async def _received(stream: Stream) -> bytes:
    """What comes next; ``b""`` at the end, which may be the end of an answer, too."""
    try:
        return await stream.receive()
    except anyio.EndOfStream:
        return b""


def _fields(request: TrialRequest) -> list[tuple[str, str]]:
    fields = [("host", HOST), ("user-agent", "trioserve"), ("accept", "*/*")]
    if request.body:
        looks_like_json = request.body[:1] in b"{["
        fields += [("content-type", "application/json" if looks_like_json else "text/plain; charset=utf-8")]
    if request.body or request.method in ("POST", "PUT", "PATCH"):
        fields += [("content-length", str(len(request.body)))]
    return fields


class Expectation:
    """What several answers to one request, given without a strike, have in common."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        first, *others = answers
        self.fails = first.status >= 500 or first.status == 0
        self.is_endless = not first.complete
        self._status = first.status if all(answer.status == first.status for answer in others) else None
        self._body = first.body if all(answer.body == first.body for answer in others) else None
        self._fields = {
            name: value for name, value in first.fields.items()
            if all(answer.fields.get(name) == value for answer in others) and name not in (b"date", b"connection")}

    def difference(self, answer: Answer) -> str:
        """How ``answer`` is not as expected, in words; empty when it is."""
        if not answer.status or (not answer.complete and not self.is_endless):
            return f"{answer} in place of an answer"
        if self._status is not None and answer.status != self._status:
            return f"status {answer.status} in place of {self._status}"
        if self._body is not None and answer.body != self._body and not self.is_endless:
            return f"the body {_shortened(answer.body)} in place of {_shortened(self._body)}"
        for name, value in self._fields.items():
            if answer.fields.get(name) != value:
                return f"the field {name.decode()}: {answer.fields.get(name)!r} in place of {value!r}"
        return ""


def _shortened(body: bytes) -> str:
    return repr(body) if len(body) <= 60 else f"{body[:60]!r}..."
