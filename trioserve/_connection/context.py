"""What the server lends to each of its connections."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import Context
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import anyio

from trioserve._asgi import Dated, ProxyHeaders
from trioserve._protocol import Http1Codec
from trioserve._streams import Cancellable
from trioserve._types import CoroutineApp

if TYPE_CHECKING:
    from trioserve._connection.exchange import Exchange
    from trioserve._connection.http1 import Http1Connection
    from trioserve._connection.refused import Refused
    from trioserve._connection.request_body import BodyReceiver
    from trioserve._connection.request_ids import RequestIds
    from trioserve._connection.supervision import Supervision
    from trioserve._connection.timeouts import Timeout
    from trioserve._connection.turnstile import Turnstile
    from trioserve._connection.websocket import WebSocket
    from trioserve._connection.websocket_service import WebSocketService

__all__ = ["AccessLog", "Lifetime", "ServerContext", "StandingFields", "Timeouts"]


class AccessLog(Protocol):
    """Takes what has happened, with the time that it took."""

    def __call__(self, exchange: "Exchange", seconds: float) -> None:
        """A request has its response, or will never have one."""

    def websocket_closed(self, websocket: "WebSocket", seconds: float) -> None:
        """A WebSocket that was accepted has come to its end."""

    def refused(self, refused: "Refused") -> None:
        """A request was answered although its head could not be read."""


@dataclass(slots=True)
class Timeouts:
    """One queue per kind of wait; each needs its ``run`` as a task."""

    tls_handshake: "Timeout[Http1Connection] | None"
    header: "Timeout[Http1Connection]"
    keep_alive: "Timeout[Http1Connection]"
    body: "Timeout[BodyReceiver]"
    write: "Timeout[Exchange]"
    request: "Timeout[Supervision] | None"
    watch: "Timeout[Supervision] | None"

    def __iter__(self) -> "Iterator[Timeout[Any]]":
        kinds = (
            self.tls_handshake, self.header, self.keep_alive, self.body, self.write, self.request, self.watch,
        )  # fmt: skip
        for kind in kinds:
            if kind is not None:
                yield kind


@dataclass(slots=True)
class Lifetime:
    """What changes while the server runs, shared by all connections.

    Attributes:
        closing: each response tells its client that it is the connection's last.
        shutdown: set at the same time, for applications that wait for it.
        shutdown_extension: what they find in their scopes; nobody can change it, so that all can share it.
        draining: no further request is waited for.
        room: slots for connections, ``None`` when their number is not limited.
        when_empty: called when the last connection has ended.
    """

    closing: bool = False
    shutdown: anyio.Event = field(default_factory=anyio.Event)
    draining: bool = False
    connections: "set[Http1Connection]" = field(default_factory=set)
    room: anyio.Semaphore | None = None
    when_empty: Callable[[], None] | None = None
    shutdown_extension: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.shutdown_extension = MappingProxyType({"wait": self.shutdown.wait})

    def end(self, connection: "Http1Connection") -> None:
        """A connection's task has ended."""
        self.connections.discard(connection)
        if self.room is not None:
            self.room.release()
        if self.when_empty is not None and not self.connections:
            self.when_empty()


@dataclass(slots=True, eq=False)
class ServerContext:
    """The application and how to serve it; one per server, read by every connection.

    Attributes:
        new_app_context: a fresh copy of the lifespan's context, for one request.
        state: the lifespan's state, or ``None`` if the application has none.
        start_soon: starts a task in the server's nursery of connections.
        supervise: requests are watched from outside, by ``timeouts.request`` or ``timeouts.watch``.
        request_ids: names of requests, when they have any.
        proxies: whom to believe where a request comes from; ``None`` for nobody but the peer itself.
        turnstile: lets requests through and counts them, when there is a limit to their number.
        websockets: makes them of handshakes; ``None`` when these are requests like all others.
    """

    app: CoroutineApp
    backend: str
    clock: Callable[[], float]
    root_path: str
    on_disconnect: Literal["notify", "cancel"]
    new_codec: Callable[[], Http1Codec]
    timeouts: Timeouts
    standing_fields: Callable[[Dated], bytes]
    start_soon: Callable[..., Cancellable]
    access_log: AccessLog | None
    turnstile: "Turnstile | None"
    websockets: "WebSocketService | None"
    new_app_context: Callable[[], Context]
    request_ids: "RequestIds | None" = None
    proxies: ProxyHeaders | None = None
    state: dict[str, Any] | None = None
    lifetime: Lifetime = field(default_factory=Lifetime)
    supervise: bool = field(init=False)

    def __post_init__(self) -> None:
        self.supervise = self.timeouts.request is not None or self.timeouts.watch is not None


_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def http_date(seconds: float) -> str:
    """IMF-fixdate, independent of the locale (RFC 9110 §5.6.7)."""
    t = time.gmtime(seconds)
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday:02} {_MONTHS[t.tm_mon - 1]} {t.tm_year} "
        f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT"
    )


class StandingFields:
    """The field lines that every response gets: Date, Server and the operator's own. Made once a second.

    A Server among ``extra`` takes the place of ``server``.
    """

    __slots__ = ("_date", "_date_line", "_extra", "_lines", "_server", "_until")

    def __init__(self, *, date: bool, server: str | None, extra: tuple[str, ...] = ()) -> None:
        self._date = date
        lines = [_field_line(line) for line in extra]
        of_server = [line for line in lines if line.startswith(b"server:")]
        if server is not None and not of_server:
            of_server = [_field_line(f"server:{server}")]
        self._server = b"".join(of_server)
        self._extra = b"".join(line for line in lines if line not in of_server) + b"\r\n"
        self._until = 0.0  # in ``time.time`` seconds: a new Date is due
        self._date_line = b""
        self._lines = b""

    def lines_for(self, response: Dated) -> bytes:
        """The lines for one response, with the empty line; a Date or Server of its own is not doubled."""
        now = time.time()
        if not self._until - 1 <= now < self._until:  # the clock may be set back, too
            self._until = int(now) + 1.0
            self._date_line = f"date: {http_date(int(now))}\r\n".encode() if self._date else b""
            self._lines = self._date_line + self._server + self._extra
        if response.has_date or response.has_server:
            date = b"" if response.has_date else self._date_line
            server = b"" if response.has_server else self._server
            return date + server + self._extra
        return self._lines


def _field_line(line: str) -> bytes:
    name, _, value = line.partition(":")
    return f"{name.strip().lower()}: {value.strip()}\r\n".encode("latin-1")
