"""What the server lends to each of its connections."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import anyio

from trioserve._asgi import Dated, ProxyHeaders
from trioserve._connection.deadline_header import DeadlineHeader
from trioserve._connection.deadlines import Deadlines
from trioserve._connection.event_streams import EventStreams
from trioserve._connection.look import Look, Mark, Phase
from trioserve._connection.recorders import Recorder
from trioserve._connection.records import InProgress
from trioserve._connection.request_ids import RequestIds
from trioserve._connection.shields import Shields
from trioserve._connection.timeouts import Timeout
from trioserve._connection.turnstile import Turnstile
from trioserve._connection.websocket_limits import WebSocketLimits
from trioserve._protocol import Http1Codec
from trioserve._streams import Address, CancellableNursery, WaitingTasks
from trioserve._types import CoroutineApp
from trioserve.extensions import BackgroundTask, StartTask

if TYPE_CHECKING:
    from trioserve._connection.http2_terms import Http2Terms

__all__ = ["Lifetime", "Served", "ServerContext", "Timeouts"]


class Served(Protocol):
    """A connection, as the server sees it."""

    def announce_end(self) -> None:
        """The server will stop: a response whose head has not been made is the connection's last, and says so."""

    def drain(self) -> None:
        """The server stops: an idle connection goes at once, a request in progress is the last one."""

    def cancel(self, reason: str) -> None:
        """End everything on the connection now; requests in progress are named in the log with ``reason``."""

    def unfinished(self) -> list[tuple[str, float]]:
        """What is in progress, each as a request line and its age in seconds; work after a response, too."""

    @property
    def phase(self) -> Phase:
        """What it is busy with."""

    def in_progress(self) -> Sequence[InProgress]:
        """Requests that have no answer yet, and open WebSockets."""

    @property
    def peer(self) -> Address | None:
        """The client."""

    @property
    def began(self) -> float:
        """When, in ``perf_counter`` seconds."""

    @property
    def nursery(self) -> CancellableNursery | None:
        """Its tasks."""

    def look(self) -> Look:
        """What can be seen of it now."""


@dataclass(slots=True)
class Timeouts:
    """One queue per kind of wait; each needs its ``run`` as a task."""

    tls_handshake: Timeout | None
    header: Timeout
    keep_alive: Timeout
    body: Timeout
    write: Timeout  # a part of the write timeout: how often progress is looked for
    request: Timeout | None
    watch: Timeout | None
    deadline: Deadlines  # of requests that have another one than the request timeout

    def __iter__(self) -> Iterator[Timeout | Deadlines]:
        kinds = (
            self.tls_handshake, self.header, self.keep_alive, self.body, self.write, self.request, self.watch,
            self.deadline,
        )  # fmt: skip
        for kind in kinds:
            if kind is not None:
                yield kind


@dataclass(slots=True)
class Lifetime:
    """What changes while the server runs, shared by all connections.

    Attributes:
        start_task: what applications find in their scopes for work that outlives a request.
        running_tasks: likewise.
        closing: each response tells its client that it is the connection's last.
        settle_seconds: in which a client that has been promised more, because its response had begun before that, may
            send another request.
        shutdown: set at the same time, for applications that wait for it.
        wait_shutdown: what they find in their scopes, as a plain function: it can be copied with the scope.
        draining: no further request is waited for.
        shields: what applications protect from cancellation, until the shutdown's deadline.
        room: slots for connections, ``None`` when their number is not limited.
        when_empty: called when the last connection has ended.
        accepted_connections: how many have begun, since the server has.
        strikes: how often the limit of an option has struck a client, by the option's name.
    """

    start_task: StartTask
    running_tasks: Callable[[], list[BackgroundTask]]
    closing: bool = False
    settle_seconds: float = 0.0
    shutdown: anyio.Event = field(default_factory=anyio.Event)
    draining: bool = False
    shields: Shields = field(default_factory=Shields)
    connections: set[Served] = field(default_factory=set)
    room: anyio.Semaphore | None = None
    when_empty: Callable[[], None] | None = None
    accepted_connections: int = 0
    strikes: Counter[str] = field(default_factory=Counter)
    wait_shutdown: Callable[[], Any] = field(init=False)

    def __post_init__(self) -> None:
        async def wait() -> None:
            await self.shutdown.wait()

        self.wait_shutdown = wait

    def extensions(self) -> dict[str, Any]:
        """What the scopes of requests and of the lifespan have of it; nobody else holds these dicts."""
        return {
            "trioserve.shutdown": {"wait": self.wait_shutdown},
            "trioserve.tasks": {"start": self.start_task, "running": self.running_tasks},
        }

    def begin(self, connection: Served) -> None:
        """A connection has been accepted."""
        self.accepted_connections += 1
        self.connections.add(connection)

    def strike(self, option: str) -> None:
        """A limit has struck, or a timeout, which is a limit of time. An empty name is of none, and counts nothing."""
        if option:
            self.strikes[option] += 1

    def end(self, connection: Served) -> None:
        """A connection has ended, with all its tasks."""
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
        set_mark: called in that context, so that the tasks of the request can be told from others; ``None`` where
            nobody looks at them, or they need no mark.
        state: the lifespan's state, or ``None`` if the application has none.
        request_ids: names of requests, when they have any.
        deadline_header: until when clients wait, when proxies say so.
        proxies: whom to believe where a request comes from; ``None`` for nobody but the peer itself.
        ended_streams: which event streams the end of the server ends.
        sends_files: applications are told that they can hand over files.
        supervises: each request is looked after from its beginning.
        task_per_request: applications expect ``current_task()`` to be one request's.
        recorder: is told of each request and WebSocket that has ended; ``None`` when nobody wants to know.
        turnstile: lets requests through and counts them, when there is a limit to their number.
        websockets: how they are served; ``None`` when handshakes are requests like all others.
        http2: how HTTP/2 is spoken; ``None`` when no client of this server can.
        disconnect_grace_seconds: between the client's leaving and the end of an application that it ends.
        requests_per_connection: with the last of them the server closes it; ``None`` for any number.
        write_seconds: in which the client has to take something of what is sent; ``None`` for ever.
    """

    app: CoroutineApp
    backend: str
    clock: Callable[[], float]
    root_path: str
    on_disconnect: Literal["auto", "notify", "cancel"]
    new_codec: Callable[[], Http1Codec]
    timeouts: Timeouts
    standing_fields: Callable[[Dated], bytes]
    task_per_request: bool
    new_waiting_tasks: Callable[[], WaitingTasks]
    recorder: Recorder | None
    turnstile: Turnstile | None
    websockets: WebSocketLimits | None
    http2: "Http2Terms | None"
    new_app_context: Callable[[], Context]
    lifetime: Lifetime
    set_mark: Callable[[Mark], object] | None = None
    requests_per_connection: int | None = None
    write_seconds: float | None = None
    disconnect_grace_seconds: float = 0.5
    request_ids: RequestIds | None = None
    deadline_header: DeadlineHeader | None = None
    proxies: ProxyHeaders | None = None
    state: dict[str, Any] | None = None
    ended_streams: EventStreams = "get"
    sends_files: bool = True
    supervises: bool = field(init=False)

    def __post_init__(self) -> None:
        self.supervises = (
            self.timeouts.request is not None or self.deadline_header is not None or self.on_disconnect == "cancel")
