"""How a server stands, for whoever looks at it from outside."""

import os
from collections.abc import Collection, Sequence
from time import perf_counter
from typing import TYPE_CHECKING

from trioserve._connection import Lifetime, Served
from trioserve._server.loop_guard.counts import StallCounts
from trioserve._server.shutdown import Shutdown
from trioserve._server.tasks import BackgroundTasks, RunningTask
from trioserve._streams import Address, running_backend

if TYPE_CHECKING:
    from trioserve._admin.metrics.process import Facts
    from trioserve._admin.tree import ServerState
    from trioserve._server.lifespan import Lifespan

__all__ = ["Standing"]


class Standing:
    """Of one server, which sets the attributes as it gets on.

    Attributes:
        lifetime: what its connections share.
        lifespan: of the application, once it has begun.
        addresses: what the server listens on, once it does.
        shown: the same for people.
        engine: the parser of request heads, once it listens.
        http2_engine: likewise; empty when HTTP/2 is not spoken.
        stalls: how often the event loop stood still for longer than ``warn_blocked``, if that is watched.
    """

    def __init__(self, lifetime: Lifetime, shutdown: Shutdown, tasks: BackgroundTasks) -> None:
        self.lifetime = lifetime
        self._shutdown = shutdown
        self._tasks = tasks
        self._began = perf_counter()
        self.lifespan: Lifespan | None = None
        self.addresses: list[Address] = []
        self.shown: Sequence[str] = ()
        self.engine = ""
        self.http2_engine = ""
        self.stalls = StallCounts()

    @property
    def phase(self) -> str:
        """``STARTING``, ``READY``, ``DELAY``, ``DRAINING`` or ``STOPPING``."""
        is_starting = not self.addresses and self._shutdown.phase == "READY"
        return "STARTING" if is_starting else self._shutdown.phase

    @property
    def connections(self) -> Collection[Served]:
        return self.lifetime.connections

    @property
    def background_tasks(self) -> Sequence[RunningTask]:
        return self._tasks.all

    def state(self) -> "ServerState":
        """For the tree. To be called in the event loop."""
        from trioserve._admin.tree import ServerState  # not for servers at which nobody looks

        detail = ", ".join(filter(None, (running_backend(), self.engine, f"PID {os.getpid()}")))
        return ServerState(self.phase, self.lifespan_state(), perf_counter() - self._began, detail, self.shown)

    def lifespan_state(self) -> str:
        """As ``Lifespan.phase``; empty before it has begun."""
        return self.lifespan.phase if self.lifespan is not None else ""

    def facts(self) -> "Facts":
        """For metrics. To be called in the event loop."""
        from trioserve._admin.metrics.process import Facts

        return Facts(running_backend(), self.engine, self.http2_engine)
