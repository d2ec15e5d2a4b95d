"""Every ASGI message as a line of the log, for whoever wants to see what a server and an application say to each other.

The application is wrapped once, when the server is made, and only if the logger ``trioserve.asgi`` is at level TRACE.
Otherwise nothing is wrapped, and no message passes through anything here.

A line is indented by connection and request. An arrow gives the direction: ``->`` to the application, ``<-`` from it.
"""

import logging
from collections.abc import Mapping
from time import perf_counter
from typing import Any, Final

import anyio

from trioserve._addresses import HostPort
from trioserve._complaints import complain
from trioserve._masking import MASK, is_secret
from trioserve._types import App, Message, Receive, Scope, Send

__all__ = ["TRACE", "traced"]

TRACE: Final = 5  # below DEBUG (10), as in uvicorn

SHOWN: Final = 100  # bytes or characters of a body, a text or any other value

log = logging.getLogger("trioserve.asgi")


def traced(app: App) -> App:
    """``app`` itself, or what calls it and logs its messages, if anybody wants to see them."""
    if not log.isEnabledFor(TRACE):
        return app
    logging.addLevelName(TRACE, "TRACE")
    transcript = Transcript()

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        await Call(scope, transcript).run(app, receive, send)

    return call


class Transcript:
    """The lines of all calls. A line about another connection than the last one comes under a heading."""

    def __init__(self) -> None:
        self._heading = ""

    def write(self, heading: str, text: str, depth: int, request_id: str | None) -> None:
        extra = {"request_id": request_id} if request_id is not None else None
        if heading != self._heading:
            self._heading = heading
            complain(log, heading, level=TRACE)
        complain(log, "%s%s", "  " * depth, text, level=TRACE, extra=extra)


class Call:
    """One call of the application: its lifespan, a request or a WebSocket."""

    def __init__(self, scope: Scope, transcript: Transcript) -> None:
        self._scope = scope
        self._transcript = transcript
        self._began = perf_counter()
        self._request_id: str | None = None
        if scope["type"] == "lifespan":
            self._heading, self._depth = "lifespan", 1
            return
        self._heading, self._depth = _client(scope), 2
        if (named := scope["extensions"].get("trioserve.request_id")) is not None:
            self._request_id = named["get"]()

    async def run(self, app: App, receive: Receive, send: Send) -> None:
        async def traced_receive() -> Message:
            message = await receive()
            self._say(f"-> {_described(message)}")
            return message

        async def traced_send(message: Message) -> None:
            self._say(f"<- {_described(message)}")
            try:
                await send(message)
            except Exception as exc:
                self._say(f"   send() raised {_error(exc)}")
                raise

        if self._depth == 2:
            self._say(_request(self._scope), of_request=True)
        end = "was cancelled"
        try:
            await app(self._scope, traced_receive, traced_send)
            end = "returned"
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as exc:
            end = f"raised {_error(exc)}"
            raise
        finally:
            self._say(f"{end} after {(perf_counter() - self._began) * 1000:.1f} ms", of_request=True)

    def _say(self, text: str, *, of_request: bool = False) -> None:
        depth = 1 if of_request else self._depth
        self._transcript.write(self._heading, text, depth, self._request_id)


def _client(scope: Scope) -> str:
    """A connection by its client, which on a unix socket has no name."""
    if scope["client"] is None:
        return "unix socket" if scope["server"] is not None and scope["server"][1] is None else "unknown client"
    host, port = scope["client"]
    return host if port is None else str(HostPort(host, port))


def _request(scope: Scope) -> str:
    """Of a WebSocket, its handshake."""
    target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    what = scope.get("method", "websocket")
    return f"{what} {_printable(target)} HTTP/{scope['http_version']} headers={_fields(scope['headers'])}"


def _described(message: Any) -> str:
    """A message, whether it is one or not: the rules are checked elsewhere."""
    if not isinstance(message, Mapping):
        return _cut(message)
    values = [f"{key}={_fields(value) if key == 'headers' else _cut(value)}"
              for key, value in message.items() if key != "type"]
    return " ".join([str(message.get("type", "a message without type")), *values])


def _fields(headers: Any) -> str:
    """Names and values, without secrets. What is no list is not looked into: it could be there to be read once."""
    if not isinstance(headers, (list, tuple)):
        return _cut(headers)
    try:
        pairs = [(_printable(bytes(name)), _printable(bytes(value))) for name, value in headers]
    except (TypeError, ValueError):
        return _cut(headers)
    return f"[{', '.join(f'{name}: {MASK if is_secret(name) else _shortened(value)}' for name, value in pairs)}]"


def _cut(value: Any) -> str:
    """As Python writes it, its beginning and its length if that is not all."""
    if isinstance(value, (bytearray, memoryview)):
        value = bytes(value)
    if isinstance(value, (bytes, str)) and len(value) > SHOWN:
        unit = "bytes" if isinstance(value, bytes) else "characters"
        return f"{value[:SHOWN]!r}... ({len(value)} {unit})"
    return repr(value) if isinstance(value, (bytes, str)) else _shortened(repr(value))


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _printable(data: bytes) -> str:
    """On one line, and with nothing that a terminal would obey."""
    text = data.decode("latin-1")
    return text if text.isprintable() else ascii(text)[1:-1]


def _error(exc: BaseException) -> str:
    return _shortened(f"{type(exc).__name__}: {_printable(str(exc).encode('latin-1', 'backslashreplace'))}")
