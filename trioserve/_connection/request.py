"""One request, as it is known by name: who asks for what, since when, and how log lines speak of it."""

import logging
from collections.abc import Coroutine
from contextvars import Context, ContextVar
from time import perf_counter
from types import CoroutineType
from typing import Any

from trioserve._complaints import complain
from trioserve._connection.channel import Outlet, Owner
from trioserve._connection.stacks import await_point
from trioserve._masking import without_query
from trioserve._protocol import RequestHead
from trioserve._protocol.trace_context import read_trace
from trioserve._streams import Address

__all__ = ["Request", "own_span"]

log = logging.getLogger("trioserve")

own_span: ContextVar[tuple[str, str]] = ContextVar("trioserve.span")
"""The ids of a request's trace and span, in its context variables, if somebody makes spans."""


class Request:
    """What an exchange and a WebSocket have in common.

    Attributes:
        head: what the client asks for.
        owner: the connection, or the stream.
        outlet: the way to the client.
        started: when it began, in ``perf_counter`` seconds.
        coro: the running application, once it has been called.
        context: its context variables.
        app_runs: the application is between two suspensions of its own task.
        end_reason: why the request was ended before its time, as it is logged; empty otherwise.
    """

    __slots__ = (
        "__weakref__", "_id", "app_runs", "context", "coro", "end_reason", "head", "outlet", "owner", "started",
    )  # fmt: skip

    def __init__(self, head: RequestHead, outlet: Outlet, owner: Owner) -> None:
        self.head = head
        self.outlet = outlet
        self.owner = owner
        self.started = perf_counter()
        self.coro: Coroutine[Any, Any, None] | None = None
        self.context: Context | None = None
        self.app_runs = True
        self.end_reason = ""
        self._id: str | None = None

    @property
    def client(self) -> Address | None:
        """Who asks, as the application sees it in the scope."""
        return self.owner.scopes.client(self.head)

    def id(self) -> str | None:
        """Its name, found or made when it is first asked for; ``None`` when requests have none."""
        ids = self.owner.ctx.request_ids
        if self._id is None and ids is not None:
            self._id = ids.name(self.outlet.peer, self.outlet.local, self.head.headers)
        return self._id

    @property
    def line(self) -> str:
        return f"{self.head.method} {self.head.target.decode('latin-1')}"

    @property
    def masked_line(self) -> str:
        """The same without what the query says, which may be a secret."""
        return without_query(self.line)

    @property
    def age(self) -> float:
        """Seconds."""
        return perf_counter() - self.started

    @property
    def app_has_ended(self) -> bool:
        """It was called, and has returned or raised."""
        return isinstance(self.coro, CoroutineType) and self.coro.cr_frame is None

    def say(self, level: int, message: str, *args: Any, error: BaseException | None = None) -> None:
        """A log line about this request: with its name, and in its context, where filters find what they look for."""
        extra = self._names()

        def write() -> None:
            complain(log, message, *args, level=level, exc_info=error, extra=extra)

        self.run_in_context(write)

    def _names(self) -> dict[str, str]:
        """What ties the line to other lines, of this program and of others."""
        names = {}
        if (name := self.id()) is not None:
            names["request_id"] = name
        if (trace := self.trace()) is not None:
            names["trace_id"], names["span_id"] = trace
        return names

    def trace(self) -> tuple[str, str] | None:
        """The trace that it belongs to and a span in it, by their ids: its own span, or else that of the caller."""
        own = self.context.get(own_span) if self.context is not None else None
        return own or read_trace(self.head.headers)

    def run_in_context(self, function: Any, *args: Any) -> None:
        """Call ``function`` with the application's context variables, as far as there are any."""
        if self.context is None or self.app_runs:  # then we are in it already
            function(*args)
        else:
            self.context.run(function, *args)

    def say_unrecorded(self, exc: Exception) -> None:
        """A recorder has raised, perhaps a filter or a handler: the request has nothing to do with it."""
        complain(log, "Cannot record the end of %s", self.line, exc_info=exc)

    def say_end(self, reason: str) -> None:
        """One line for whoever asks why: the reason, the request, its age and where it stood."""
        self.end_reason = reason
        if (recorder := self.owner.ctx.recorder) is not None:
            recorder.ended_early(self, reason, self.age)
        where = await_point(self.coro) if self.coro is not None else "its start"
        level = logging.INFO if reason in ("client-disconnect", "shutdown") else logging.WARNING
        self.say(level, "%s: ended %s after %.1f s, waiting at %s", reason, self.line, self.age, where)
