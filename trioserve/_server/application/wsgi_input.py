"""``wsgi.input``: the request body as a file, for whatever thread reads it."""

import io
from typing import IO, Any, Final

import anyio

from trioserve._errors import ClientDisconnected
from trioserve._server.application.thread_calls import Errands
from trioserve._types import Message, Receive, Scope

__all__ = ["body_so_far", "input_file"]

BODY_BUFFER_BYTES: Final = 64 * 1024  # one hop between thread and event loop for as much

_NOTHING: Final[Message] = {"type": "http.request", "body": b"", "more_body": True}
_NO_BODY: Final[Message] = {"type": "http.request", "body": b"", "more_body": False}
_FRAMING: Final = (b"content-length", b"transfer-encoding")


async def body_so_far(scope: Scope, receive: Receive) -> Message:
    """What has come of the body, without waiting for more: mostly all, and then no thread has to ask for it.

    A client that waits to be asked for its body (RFC 9110 §10.1.1) is not asked here.
    """
    names = [name for name, _ in scope["headers"]]
    if scope["http_version"] != "2" and not any(name in _FRAMING for name in names):
        return _NO_BODY
    if b"expect" not in names:
        with anyio.CancelScope() as at_once:
            at_once.cancel()
            message = await receive()
            if message["type"] == "http.request":
                return message
    return _NOTHING


def input_file(so_far: Message, receive: Receive, errands: Errands | None) -> IO[bytes]:
    """The file. Without ``errands`` the body has to be complete."""
    if errands is None:
        return io.BytesIO(so_far["body"])
    return io.BufferedReader(_RequestBody(so_far["body"], receive, errands), BODY_BUFFER_BYTES)


class _RequestBody(io.RawIOBase):
    """A body that is still coming."""

    def __init__(self, data: bytes, receive: Receive, errands: Errands) -> None:
        self._data = data
        self._receive = receive
        self._errands = errands
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """As ``io.RawIOBase`` says. Raises ClientDisconnected when the body will not be completed."""
        while not self._data and not self._ended:
            message = self._errands.run(self._receive)
            if message["type"] == "http.disconnect":
                raise ClientDisconnected("nothing more comes of the request body, and it is incomplete")
            self._data = message["body"]
            self._ended = not message["more_body"]
        size = min(len(buffer), len(self._data))
        buffer[:size] = self._data[:size]
        self._data = self._data[size:]
        return size
