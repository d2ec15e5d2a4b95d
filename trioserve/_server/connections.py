"""The middle of the tree of tasks: accept, serve connections until the shutdown, let them finish."""

from collections.abc import Callable
from functools import partial

import anyio
import anyio.abc

from trioserve._config import Config
from trioserve._connection import Connection, Lifetime, ServerContext
from trioserve._protocol import ParseFields
from trioserve._server.accept import accept_loop, accept_rest
from trioserve._server.access_log import AccessLogger
from trioserve._server.context import make_context
from trioserve._server.lifespan import Lifespan
from trioserve._server.opening import Listeners
from trioserve._server.recycling import check_recycling, start_recycling
from trioserve._server.shutdown import Shutdown
from trioserve._server.waiting import keep_saying
from trioserve._streams import ByteStream, Network, Nursery

__all__ = ["Connections"]


class Connections:
    """Serves the application of a lifespan on listeners, for one run.

    ``on_spent`` is called when the process has served for long enough, with the option that says so.

    Raises:
        ConfigError: the format of the access log has something in it that is no atom, or the system cannot tell how
            much memory the process holds.
    """

    def __init__(
        self, config: Config, lifetime: Lifetime, shutdown: Shutdown, on_spent: Callable[[str], None]
    ) -> None:
        self._config = config
        self._lifetime = lifetime
        self._shutdown = shutdown
        self._on_spent = on_spent
        self._access_log = AccessLogger(config) if config.access_log else None
        check_recycling(config)

    async def run(
        self, listeners: Listeners, network: Network, lifespan: Lifespan, parse_fields: ParseFields,
        on_listening: Callable[[], None],
    ) -> None:  # fmt: skip
        """From the first connection to the end of the last one. The listeners are closed in between."""
        shutdown = self._shutdown
        async with anyio.create_task_group() as services:
            await services.start(network.run)
            async with network.open_nursery() as connections:
                ctx = self._make_context(listeners, network, lifespan, parse_fields)
                _start_services(services, listeners, ctx)
                start_recycling(self._config, services, self._on_spent)
                try:
                    await self._accept(listeners, ctx, connections, on_listening)
                finally:
                    listeners.close()
                shutdown.begin()
                await shutdown.settle()
                shutdown.drain()
                services.start_soon(shutdown.end_connections_in_time)
                services.start_soon(keep_saying, shutdown.waits_for)
            with shutdown.finishing:
                await network.finish()
            services.cancel_scope.cancel()

    async def _accept(
        self, listeners: Listeners, ctx: ServerContext, connections: Nursery, on_listening: Callable[[], None]
    ) -> None:
        """Until it is time to stop; then those who wait in the backlogs, if there is time for them."""
        room = ctx.lifetime.room

        def start_connection(stream: ByteStream) -> None:
            Connection(stream, ctx).start(connections)

        async with anyio.create_task_group() as accepting:
            for listener in listeners:
                accepting.start_soon(
                    partial(accept_loop, shared=listeners.are_shared), listener, start_connection, room)
            on_listening()
            await self._shutdown.wait()
            accepting.cancel_scope.cancel()
        if self._shutdown.settles:
            listeners.refuse_new()
            accept_rest(listeners, start_connection, room)

    def _make_context(
        self, listeners: Listeners, network: Network, lifespan: Lifespan, parse_fields: ParseFields
    ) -> ServerContext:
        access_log = self._access_log
        return make_context(
            self._config,
            lifespan.app,
            clock=network.clock,
            parse_fields=parse_fields,
            task_per_request=network.task_per_turn,
            access_log=access_log if access_log is not None and access_log.enabled else None,
            on_requests_spent=partial(self._on_spent, "limit-max-requests"),
            new_app_context=lifespan.context.copy,
            state=lifespan.state,
            lifetime=self._lifetime,
            tls=listeners.certificates is not None,
        )


def _start_services(services: anyio.abc.TaskGroup, listeners: Listeners, ctx: ServerContext) -> None:
    """What all connections need, and what goes on beside them."""
    for timeout in (*ctx.timeouts, *(ctx.websockets.timeouts if ctx.websockets is not None else ())):
        services.start_soon(timeout.run)
    if ctx.http2 is not None:
        services.start_soon(ctx.http2.idle.run)
    if isinstance(ctx.access_log, AccessLogger):
        services.start_soon(ctx.access_log.run)
    if listeners.certificates is not None:
        services.start_soon(listeners.certificates.watch)
