"""What an application's messages get away with here, and may not elsewhere: ASGI does not allow it.

Pure. Only a check asks; a running server does not.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from trioserve._types import Message

__all__ = ["ResponseWatch", "WebSocketWatch"]


class ResponseWatch:
    """Follows the messages of one response (ASGI HTTP 2.5).

    Attributes:
        complete: the last one has been sent.
        missing: what has to be sent before the application returns.
    """

    missing: Final = "its response is complete"

    def __init__(self) -> None:
        self.complete = False
        self._trailers = False

    def faults(self, message: Message) -> Iterator[str]:
        """What is wrong with ``message``, which the server has taken, each a part of a sentence."""
        kind = message["type"]
        if self.complete:
            yield f"{kind} after the end of the response, which is ignored"
        if not isinstance(message, dict):
            yield f"a message that is no dict, but of type {type(message).__name__}"
        if kind == "http.response.start":
            self._trailers = bool(message.get("trailers"))
            yield from _faults_of_fields(message.get("headers", ()))
        elif kind == "http.response.body":
            if not isinstance(message.get("body", b""), bytes):
                yield f"a body of type {type(message['body']).__name__}: it is bytes"
            self.complete = self.complete or not (message.get("more_body") or self._trailers)
        elif kind == "http.response.trailers":
            yield from _faults_of_fields(message.get("headers", ()))
            self.complete = self.complete or not message.get("more_trailers")
        elif kind in ("http.response.pathsend", "http.response.zerocopysend"):
            self.complete = self.complete or not (message.get("more_body") or self._trailers)


class WebSocketWatch:
    """Follows what an application sends on one WebSocket (ASGI WebSocket 2.5).

    Attributes:
        complete: the handshake has an answer. An application may return without closing: then the server closes.
        missing: what has to be sent before the application returns.
    """

    missing: Final = "it has answered the handshake, by websocket.accept or websocket.close"

    def __init__(self) -> None:
        self.complete = False
        self._closed = False

    def faults(self, message: Message) -> Iterator[str]:
        """What is wrong with ``message``, each a part of a sentence. The server may have refused it, as too late."""
        kind = message["type"]
        if self._closed:
            yield f"{kind} after its own websocket.close"
        if kind == "websocket.accept":
            yield from _faults_of_fields(message.get("headers", ()))
        self._closed = self._closed or kind == "websocket.close"
        self.complete = self.complete or kind != "websocket.send"


def _faults_of_fields(headers: Any) -> Iterator[str]:
    if isinstance(headers, Mapping):
        yield "headers that are a mapping: they are pairs"
        return
    for name, value in list(headers):
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            yield f"a header {bytes(name)!r} that is not of type bytes"
        elif name != name.lower():
            yield f"the header {name!r}: names are in lower case"
        if bytes(name).lower() == b"transfer-encoding":
            yield "the header transfer-encoding, which is the server's: it is ignored"
