"""The middle of the tree of tasks: accept, serve connections until the shutdown, let them finish."""

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import anyio
import anyio.abc

from trioserve._config import Config
from trioserve._connection import Connection, Lifetime, Recorder, ServerContext, joined
from trioserve._protocol import ParseFields
from trioserve._server.accept import Admission
from trioserve._server.access_log.lines import AccessLogger
from trioserve._server.context import make_context
from trioserve._server.lifespan import Lifespan
from trioserve._server.loop_guard.counts import StallCounts
from trioserve._server.observed import Observed, check_observers, observed
from trioserve._server.opening import Listeners
from trioserve._server.recycling import check_recycling, start_recycling
from trioserve._server.shutdown import Shutdown
from trioserve._server.waiting import keep_saying
from trioserve._streams import ByteStream, Network, Nursery

__all__ = ["Connections"]


class Connections:
    """Serves the application of a lifespan on listeners, for one run.

    ``on_spent`` is called when the process has served for long enough, with the option that says so. ``recorders`` are
    told what the access log is told. ``stalls`` count when the event loop is watched.

    Attributes:
        http2_engine: that speaks HTTP/2, once it listens; empty when no client can.

    Raises:
        ConfigError: the format of the access log has something in it that is no atom, the system cannot tell how much
            memory the process holds, or a package that the options need is missing.
    """

    def __init__(
        self, config: Config, lifetime: Lifetime, shutdown: Shutdown, on_spent: Callable[[str], None],
        recorders: Sequence[Recorder], stalls: StallCounts,
    ) -> None:  # fmt: skip
        self._config = config
        self._lifetime = lifetime
        self._shutdown = shutdown
        self._on_spent = on_spent
        self._recorders = recorders
        self._stalls = stalls
        self.http2_engine = ""
        self._access_log = AccessLogger(config) if config.access_log else None
        check_recycling(config)
        check_observers(config)

    async def run(
        self, listeners: Listeners, network: Network, lifespan: Lifespan, parse_fields: ParseFields,
        on_listening: Callable[[], None],
    ) -> None:  # fmt: skip
        """From the first connection to the end of the last one. The listeners are closed in between."""
        shutdown, seen = self._shutdown, observed(lifespan.app, self._config)
        async with anyio.create_task_group() as services:
            for service in (network.run, *seen.services):
                await services.start(service)
            async with network.open_nursery() as connections:
                ctx = self._make_context(seen, listeners, network, lifespan, parse_fields)
                self.http2_engine = ctx.http2.new_engine.name if ctx.http2 is not None else ""
                _start_services(services, listeners, ctx)
                if self._access_log is not None:
                    services.start_soon(self._access_log.run)
                start_recycling(self._config, services, self._on_spent)
                if (seconds := self._config.warn_blocked) is not None:
                    services.start_soon(_guard_of(seconds, network, self._stalls))
                admission = self._admission(ctx, connections, shared=listeners.are_shared)
                try:
                    await self._accept(listeners, admission, on_listening)
                    listeners.close()
                    shutdown.begin()
                    await shutdown.settle()
                    shutdown.drain()
                    services.start_soon(shutdown.end_connections_in_time)
                    services.start_soon(keep_saying, shutdown.waits_for)
                    with shutdown.admitting:
                        await admission.admit_rest()
                finally:
                    listeners.close()
                    admission.turn_away()
            with shutdown.finishing:
                await network.finish()
            services.cancel_scope.cancel()

    async def _accept(self, listeners: Listeners, admission: Admission, on_listening: Callable[[], None]) -> None:
        """Until it is time to stop; then those who wait in the backlogs: some have sent their requests."""
        async with anyio.create_task_group() as accepting:
            for listener in listeners:
                accepting.start_soon(admission.accept_from, listener)
            on_listening()
            await self._shutdown.wait()
            accepting.cancel_scope.cancel()
        listeners.refuse_new()
        admission.accept_rest(listeners)

    def _admission(self, ctx: ServerContext, connections: Nursery, *, shared: bool) -> Admission:
        def start_connection(stream: ByteStream) -> None:
            Connection(stream, ctx).start(connections)

        lifetime = self._lifetime
        return Admission(
            start_connection, lifetime.room, partial(lifetime.strike, "limit_connections"), shared=shared)

    def _make_context(
        self, seen: Observed, listeners: Listeners, network: Network, lifespan: Lifespan, parse_fields: ParseFields
    ) -> ServerContext:
        return make_context(
            self._config,
            seen.app,
            clock=network.clock,
            parse_fields=parse_fields,
            task_per_request=network.task_per_turn,
            new_waiting_tasks=network.new_waiting_tasks,
            recorder=joined([*seen.recorders, *self._all_recorders()]),
            on_requests_spent=partial(self._on_spent, "limit-max-requests"),
            new_app_context=lifespan.context.copy,
            set_mark=lifespan.set_mark,
            state=lifespan.state,
            lifetime=self._lifetime,
            tls=listeners.certificates is not None,
        )

    def _all_recorders(self) -> list[Recorder]:
        """The access log comes last: filters and handlers of the application's may raise."""
        access_log = self._access_log
        return [*self._recorders, *([access_log] if access_log is not None and access_log.enabled else [])]


def _guard_of(seconds: float, network: Network, counts: StallCounts) -> Callable[[], Coroutine[Any, Any, None]]:
    """A task that watches the event loop."""
    from trioserve._server.loop_guard.guard import LoopGuard  # nobody else pays for it
    from trioserve._server.loop_guard.stalls import Stalls

    return LoopGuard(seconds, network, Stalls(counts)).run


def _start_services(services: anyio.abc.TaskGroup, listeners: Listeners, ctx: ServerContext) -> None:
    """What all connections need, and what goes on beside them."""
    for timeout in (*ctx.timeouts, *(ctx.websockets.timeouts if ctx.websockets is not None else ())):
        services.start_soon(timeout.run)
    if ctx.http2 is not None:
        services.start_soon(ctx.http2.idle.run)
    if listeners.certificates is not None:
        services.start_soon(listeners.certificates.watch)
