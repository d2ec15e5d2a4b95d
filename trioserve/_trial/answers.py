"""What is sent to an application on trial, what came back, and what it is compared with. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

__all__ = ["Answer", "Expectation", "TrialRequest", "options_for"]

WEBSOCKET: Final = "WS"
HTTP2: Final = "H2"
SWITCHED: Final = 101  # the status of a handshake that was accepted
APP_FAILED: Final = 1011  # the close code for it (RFC 6455 §7.4.1)

T = TypeVar("T")


@dataclass(frozen=True)
class TrialRequest:
    """What a client sends: a request, or with the method ``WS`` a WebSocket's handshake and then its only message.

    Attributes:
        over_http2: in place of HTTP/1.1.
    """

    method: str = "GET"
    target: str = "/"
    body: bytes = b""
    over_http2: bool = False

    @classmethod
    def parse(cls, text: str) -> "TrialRequest":
        """Read ``"POST /items a body"``, or ``"H2 POST /items a body"`` for one over HTTP/2.

        Raises ValueError, with what is wrong and what would be right.
        """
        method, _, rest = text.strip().partition(" ")
        over_http2 = method.upper() == HTTP2
        if over_http2:
            method, _, rest = rest.partition(" ")
            if method.upper() == WEBSOCKET:
                raise ValueError(f"{text!r} cannot be tried: a WebSocket comes over HTTP/1.1, leave {HTTP2} out")
        target, _, body = rest.partition(" ")
        if not method.isalpha() or not target.startswith("/") or not target.isascii() or not target.isprintable():
            raise ValueError(
                f"{text!r} is no request: METHOD PATH [BODY], such as 'POST /items {{}}', or WS PATH [MESSAGE], such "
                "as 'WS /chat hello', is expected; H2 in front of a METHOD means HTTP/2")
        return cls(method.upper(), target, body.encode(), over_http2)

    @property
    def is_websocket(self) -> bool:
        return self.method == WEBSOCKET

    def __str__(self) -> str:
        return f"{HTTP2} {self.method} {self.target}" if self.over_http2 else f"{self.method} {self.target}"


def options_for(requests: Iterable[TrialRequest]) -> dict[str, Any]:
    """Fields of ``Config`` with which a server in memory can be sent these."""
    return {"http2": True} if any(request.over_http2 for request in requests) else {}


@dataclass
class Answer:
    """What came back.

    Attributes:
        status: 0 while there is nothing; 101 when a WebSocket was accepted.
        complete: the end has come: that of the response, or the server's close frame.
        messages: of a WebSocket.
        close_code: of a WebSocket that ended otherwise than by 1000; 0 when it did not.
    """

    status: int = 0
    fields: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    complete: bool = False
    messages: list[str | bytes] = field(default_factory=list)
    close_code: int = 0

    @property
    def fails(self) -> bool:
        """There is none, or it says that the application has failed."""
        return self.status == 0 or self.status >= 500 or self.close_code == APP_FAILED

    def __str__(self) -> str:
        if not self.status:
            return "nothing"
        if not self.complete:
            return f"{self.status}, cut short"
        return f"{self.status}, closed with {self.close_code}" if self.close_code else f"{self.status}"


class Expectation:
    """What several answers to one request, given without a strike, have in common."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        first, *others = answers
        self.fails = first.fails
        self.is_endless = not first.complete
        self._status = _common([answer.status for answer in answers])
        self._body = _common([answer.body for answer in answers])
        self._messages = _common([answer.messages for answer in answers])
        self._close_code = _common([answer.close_code for answer in answers])
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
        if self._close_code is not None and answer.close_code != self._close_code:
            return f"the close code {answer.close_code} in place of {self._close_code}"
        if self._messages is not None and not _are_in(self._messages, answer.messages):
            return f"the messages {_shortened(answer.messages)} in place of {_shortened(self._messages)}"
        return ""


def _common(values: Sequence[T]) -> T | None:
    """What they all are."""
    first, *others = values
    return first if all(value == first for value in others) else None


def _are_in(messages: Sequence[str | bytes], received: Sequence[str | bytes]) -> bool:
    """They came, in their order. Others may have come in between: in a chat, other clients speak, too."""
    rest = iter(received)
    return all(message in rest for message in messages)


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 63 else f"{text[:60]}..."
