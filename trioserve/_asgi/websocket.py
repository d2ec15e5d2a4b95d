"""The application's side of one WebSocket: ASGI messages in, bytes out, each rule checked (ASGI WebSocket 2.5).

Pure: it neither waits nor sends. The caller sends the pieces that ``encode`` appends, and receives.
"""

from enum import IntEnum
from typing import Final

from trioserve._asgi.fields import DATE, PLAIN, SERVER, Pair, checked_fields, kind_of
from trioserve._asgi.messages import no_message
from trioserve._asgi.response import Response
from trioserve._asgi.states import COMPLETE
from trioserve._errors import AppError
from trioserve._protocol.websocket.codec import ABNORMAL, NO_CODE, WebSocketCodec, is_close_code
from trioserve._protocol.websocket.handshake import Handshake
from trioserve._types import Message

__all__ = ["CLOSED", "CONNECTING", "DENYING", "OPEN", "WebSocketSession", "WebSocketState"]


class WebSocketState(IntEnum):
    """How far a WebSocket is, in order, as far as the application may send."""

    CONNECTING = 0  # the client waits for an answer to its handshake
    DENYING = 1  # the answer is an HTTP response, which is not complete yet
    OPEN = 2
    CLOSED = 3


# Plain names and plain integers on the hot path: an enum member costs a look-up of 50 ns each time.
CONNECTING, DENYING, OPEN, CLOSED = map(int, WebSocketState)
FORBIDDEN: Final = 403
_EXPECTED: Final = (
    "websocket.accept, websocket.close or websocket.http.response.start", "websocket.http.response.body",
    "websocket.send or websocket.close", "nothing more",
)  # fmt: skip


class WebSocketSession:
    """Turns the application's messages into the bytes of a handshake's answer and of frames.

    Attributes:
        state: what may be sent.
        response: the answer to the handshake.
        codec: there once the handshake has been accepted.
        close_code, close_reason: what ended it, in ``CLOSED``.
    """

    __slots__ = ("_handshake", "_max_size", "close_code", "close_reason", "codec", "response", "state")

    def __init__(self, handshake: Handshake, response: Response, max_size: int) -> None:
        self._handshake = handshake
        self._max_size = max_size
        self.response = response
        self.codec: WebSocketCodec | None = None
        self.state: int = CONNECTING
        self.close_code = 0
        self.close_reason = ""

    @property
    def subprotocols(self) -> tuple[str, ...]:
        """What the client offered."""
        return self._handshake.subprotocols

    def encode(self, message: Message, pieces: list[bytes]) -> None:
        """Check ``message`` and append what it puts on the wire to ``pieces``. Not for ``CLOSED``.

        Raises:
            AppError: the message is not allowed here, or malformed; nothing was appended.
        """
        try:
            kind = message["type"]
        except (TypeError, KeyError, IndexError):
            raise no_message(message) from None
        state = self.state
        if kind == "websocket.send" and state == OPEN:
            pieces.append(self._frame(message))
        elif kind == "websocket.close" and state == OPEN:
            self._close(message, pieces)
        elif kind == "websocket.accept" and state == CONNECTING:
            self._accept(message, pieces)
        elif kind == "websocket.close" and state == CONNECTING:
            self.refuse(pieces)
        elif (kind == "websocket.http.response.start" and state == CONNECTING) or (
            kind == "websocket.http.response.body" and state == DENYING
        ):
            self._deny(message, pieces)
        else:
            raise AppError(f"{kind!r} sent where {_EXPECTED[state]} is expected")

    # The handshake's answer.

    def _accept(self, message: Message, pieces: list[bytes]) -> None:
        """RFC 6455 §4.2.2."""
        handshake = self._handshake
        fields: list[Pair] = []
        subprotocol = message.get("subprotocol")
        if subprotocol not in (None, ""):
            if subprotocol not in handshake.subprotocols:
                raise AppError(f"the client did not offer the subprotocol {subprotocol!r:.100}")
            fields.append((b"sec-websocket-protocol", subprotocol.encode()))
        if handshake.deflate is not None:
            fields.append((b"sec-websocket-extensions", handshake.deflate.answer))
        own = checked_fields(message.get("headers", ()))
        fields += [(name, value) for name, value in own if _is_the_applications(name)]
        self.response.accept(handshake, fields, pieces)
        self.codec = WebSocketCodec(self._max_size, handshake.deflate)
        self.state = OPEN

    def refuse(self, pieces: list[bytes]) -> None:
        """The application does not want this WebSocket: 403 (ASGI WebSocket, "Close")."""
        fields = [(b"content-type", b"text/plain; charset=utf-8")]
        self.response.encode({"type": "http.response.start", "status": FORBIDDEN, "headers": fields}, pieces)
        self.response.encode({"type": "http.response.body", "body": b"Forbidden\n"}, pieces)
        self.end(ABNORMAL, "")

    def _deny(self, message: Message, pieces: list[bytes]) -> None:
        """An HTTP response of the application's own (ASGI extension "WebSocket Denial Response").

        In HTTP/2 each status of success would accept the handshake (RFC 8441 §5), and the body would be frames.
        """
        kind = message["type"].removeprefix("websocket.")
        message = {**message, "type": kind, "trailers": False}
        status = message.get("status")
        if not self._handshake.accept_key and isinstance(status, int) and 200 <= status < 300:
            message["status"] = FORBIDDEN
        self.response.encode(message, pieces)
        self.state = DENYING
        if self.response.state == COMPLETE:
            self.end(ABNORMAL, "")

    # Frames.

    def _frame(self, message: Message) -> bytes:
        text, data = message.get("text"), message.get("bytes")
        assert self.codec is not None, "made when the state became OPEN"
        if data is None and isinstance(text, str):
            try:
                return self.codec.text(_plain(text))
            except UnicodeEncodeError as exc:
                raise AppError(f"the text of websocket.send cannot be sent as UTF-8: {exc}") from exc
        if text is None and isinstance(data, (bytes, bytearray, memoryview)):
            return self.codec.binary(bytes(data))
        if (text is None) == (data is None):
            raise AppError("websocket.send has exactly one of text and bytes")
        raise AppError(f"websocket.send has text or bytes, not {type(data if text is None else text).__name__}")

    def _close(self, message: Message, pieces: list[bytes]) -> None:
        code, reason = message.get("code", 1000), message.get("reason") or ""
        if not isinstance(code, int) or not (is_close_code(code) or code == NO_CODE):
            raise AppError(f"{code!r:.100} is no close code that may be sent (RFC 6455 §7.4)")
        if not isinstance(reason, str):
            raise AppError(f"the reason of websocket.close is text, not {type(reason).__name__}")
        try:
            pieces.append(self.close(int(code), _plain(reason)))
        except UnicodeEncodeError as exc:
            raise AppError(f"the reason of websocket.close cannot be sent as UTF-8: {exc}") from exc

    def close(self, code: int, reason: str = "") -> bytes:
        """The close frame that ends what may be sent, of the application's or the server's making."""
        assert self.codec is not None, "there is something to close"
        frame = self.codec.close(code, reason)
        self.end(code, reason)
        return frame

    def end(self, code: int, reason: str) -> None:
        """Nothing can be sent any more; the first reason is the one that counts."""
        if self.state != CLOSED:
            self.state, self.close_code, self.close_reason = CLOSED, code, reason

    def disconnect(self) -> Message:
        """What the application receives at the end."""
        return {"type": "websocket.disconnect", "code": self.close_code, "reason": self.close_reason}


def _plain(text: str) -> str:
    """The same as a ``str`` and no subclass. What ``str()`` makes of an enum is its name."""
    return text if type(text) is str else str.__str__(text)


def _is_the_applications(name: bytes) -> bool:
    """What belongs to the connection is left out. Raises AppError for what belongs to the handshake."""
    if name.lower().startswith(b"sec-websocket-"):
        raise AppError(f"{name!r} is the server's; a subprotocol is given as such")
    return kind_of(name) in (PLAIN, DATE, SERVER) and name.lower() != b"upgrade"
