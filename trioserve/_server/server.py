"""The root of the tree of tasks: start-up reads from the top down, shutdown from the inside out."""

import logging
import math
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

import anyio
import anyio.abc
import anyio.lowlevel

from trioserve._addresses import shown
from trioserve._config import Config
from trioserve._connection import (
    Http1Connection,
    Lifetime,
    ServerContext,
)
from trioserve._errors import LifespanDied, TrioserveError
from trioserve._server.accept import accept_loop, accept_rest
from trioserve._server.access_log import AccessLogger
from trioserve._server.context import make_context
from trioserve._server.engine import choose_engine
from trioserve._server.interface import adapt
from trioserve._server.lifespan import Lifespan
from trioserve._server.listeners import Bound, bind, own, refuse_new, release, remove_files
from trioserve._server.opening import listen, wrap
from trioserve._server.tls import Certificates, load_certificates
from trioserve._streams import (
    Address,
    ByteStream,
    Listener,
    Network,
    TlsListener,
    open_network,
    running_backend,
)
from trioserve._types import AnyApp

__all__ = ["Server", "serve"]

log = logging.getLogger("trioserve")

LIFESPAN_SHARE: Final = 0.1  # of the shutdown budget is kept for the lifespan ...
LIFESPAN_SECONDS: Final = 2.0  # ... up to this; and if nothing is left of the budget, this is added


class Server:
    """One application on its listeners, for one run.

    ``sockets``, bound by somebody else, take the place of the addresses in ``config``, except for ``insecure_bind``.
    They belong to the server, which closes them; unix sockets among them stay in the file system.

    Args:
        get_sockets: takes the place of ``sockets`` and of all addresses; called when the application has started. No
            sockets at all are right when the server has been told to stop.
        on_requests_spent: called once ``limit_max_requests`` is reached, instead of a shutdown.
        announce: say in the log where it listens.

    Attributes:
        addresses: what it listens on, once it does.
        engine: the parser of request heads, once it listens.
    """

    def __init__(
        self, app: AnyApp, config: Config, *, sockets: Sequence[socket.socket | Bound] | None = None,
        listeners: list[Listener] | None = None, ssl_context: ssl.SSLContext | None = None,
        get_sockets: Callable[[], Awaitable[Sequence[socket.socket | Bound]]] | None = None,
        on_requests_spent: Callable[[], None] | None = None, announce: bool = True,
    ) -> None:  # fmt: skip
        self._app = adapt(app, config)
        self._config = config
        self._access_log = AccessLogger(config) if config.access_log else None  # a mistake in its format shows now
        self._given_sockets = sockets
        self._given_listeners = listeners
        self._bound: list[Bound] = []
        self._ssl_context = ssl_context
        self._certificates: Certificates | None = None
        self._get_sockets = get_sockets
        self._on_requests_spent = on_requests_spent or self._stop_after_requests
        self._announces = announce
        self._shutdown_requested = anyio.Event()
        self._shutdown_forced = anyio.Event()
        self._ready = anyio.Event()
        self._stopped = anyio.Event()
        self._core = anyio.CancelScope()
        self._lifespan: Lifespan | None = None
        self._failure: TrioserveError | None = None
        self._budget = config.timeout_graceful_shutdown
        self._settle_seconds = 0.0
        self._settling = anyio.CancelScope()
        self._finishing = anyio.CancelScope()
        limit = config.limit_connections
        self._lifetime = Lifetime(
            closing=config.timeout_keep_alive == 0,
            room=anyio.Semaphore(limit, max_value=limit) if limit is not None else None)
        self.addresses: list[Address] = []
        self.engine = ""

    # What others ask of a running server.

    def request_shutdown(self, reason: str, *, settle: float = 0.0, within: float | None = None) -> None:
        """Stop gracefully; before the application has started, stop at once. Later calls change nothing.

        For ``settle`` seconds at most, idle connections stay open for one more request, whose response tells the
        client that it is the last. ``within`` takes the place of ``timeout_graceful_shutdown``, if it is shorter.
        """
        if self._shutdown_requested.is_set():
            return
        log.info("Shutting down (%s)", reason)
        self._settle_seconds = settle
        if within is not None:
            self._budget = within if self._budget is None else min(within, self._budget)
        self._shutdown_requested.set()
        if not self._config.shutdown_delay:
            self._announce_end()
        if not self.addresses and not (self._lifespan is not None and self._lifespan.has_started):
            self._core.cancel()

    def force_shutdown(self) -> None:
        """Do not wait for requests any longer."""
        self.request_shutdown("forced")
        self._shutdown_forced.set()
        self._settling.cancel()

    @property
    def has_certificate_files(self) -> bool:
        """There are files that ``reload_certificates`` can read again."""
        return self._config.ssl_certfile is not None

    def reload_certificates(self) -> None:
        """Read the certificate files again, for new connections. When they are bad, that is logged; nothing raises."""
        if self._certificates is not None:
            self._certificates.reload()

    async def serve(self, *, task_status: anyio.abc.TaskStatus[list[Address]] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until shutdown; cancelling this is a graceful stop too. Installs no signal handlers.

        ``task_status.started`` gets the bound addresses when the first request can come.

        Raises:
            TrioserveError: the server could not start, or the application's lifespan died.
        """
        async with anyio.create_task_group() as shielding:
            shielding.start_soon(self._run)
            try:
                await self._ready.wait()
                if self.addresses:
                    task_status.started(self.addresses)
                await self._stopped.wait()
            except anyio.get_cancelled_exc_class():
                self.request_shutdown("cancelled")
                raise
        if self._failure is not None:
            raise self._failure

    # The tree of tasks.

    async def _run(self) -> None:
        """Everything there is, inside a scope that the caller's cancellation cannot reach once it is up."""
        try:
            with self._core:
                async with anyio.create_task_group() as app_lifetime:
                    await self._run_app_lifetime(app_lifetime)
                    app_lifetime.cancel_scope.cancel()
        except TrioserveError as exc:
            self._failure = exc
        except BaseExceptionGroup as group:
            self._failure = _only_ours(group)
        finally:
            self._ready.set()
            self._stopped.set()

    async def _run_app_lifetime(self, app_lifetime: anyio.abc.TaskGroup) -> None:
        """Bind, start the application, serve, then let it close its resources."""
        await anyio.lowlevel.checkpoint_if_cancelled()  # the application need not begin if it is time to stop already
        engine, parse_fields = choose_engine(self._config.http)
        self._certificates = load_certificates(self._config, self._ssl_context)
        network = open_network()
        if self._given_listeners is None and self._get_sockets is None:
            self._bound = await bind(self._config, self._given_sockets)
        self._lifespan = lifespan = Lifespan(self._app, self._config.lifespan, running_backend(), self.request_shutdown)
        try:
            await app_lifetime.start(lifespan.run)
            if lifespan.failure is not None:
                raise lifespan.failure
            if self._get_sockets is not None and (sockets := await self._get_sockets()):
                self._bound = own(sockets)
            if self._given_listeners is None:
                listeners = listen(self._bound, network, self._config, self._certificates)
            else:
                listeners = [wrap(given, self._config, self._certificates) for given in self._given_listeners]
        except BaseException:
            release(self._bound)
            raise
        try:
            deadline = await self._run_connections(listeners, network, lifespan, parse_fields, engine)
        finally:
            for listener in listeners:  # a stop may come before the first connection can
                listener.close()
        now = anyio.current_time()
        with anyio.move_on_at(deadline if deadline > now else now + LIFESPAN_SECONDS) as lifespan_shutdown:
            await lifespan.shutdown()
        if lifespan_shutdown.cancelled_caught:
            log.error("shutdown-deadline: the application's lifespan did not end in time")
        if isinstance(lifespan.failure, LifespanDied):
            raise lifespan.failure
        log.info("Stopped")

    async def _run_connections(
        self, listeners: list[Listener], network: Network, lifespan: Lifespan, parse_fields: Any, engine: str
    ) -> float:
        """Accept and serve until shutdown, then drain; return the deadline of what remains of the shutdown."""
        async with anyio.create_task_group() as services:
            await services.start(network.run)
            async with network.open_nursery() as connections:
                ctx = self._make_context(network, lifespan, parse_fields, connections.start_soon)
                for timeout in (*ctx.timeouts, *(ctx.websockets.timeouts if ctx.websockets is not None else ())):
                    services.start_soon(timeout.run)
                if isinstance(ctx.access_log, AccessLogger):
                    services.start_soon(ctx.access_log.run)
                if self._certificates is not None:
                    services.start_soon(self._certificates.watch)
                try:
                    async with anyio.create_task_group() as accepting:
                        start_connection = self._start_accepting(listeners, ctx, accepting)
                        self._announce(listeners, engine)
                        await self._shutdown_requested.wait()
                        await self._delay_shutdown()
                        accepting.cancel_scope.cancel()
                    if self._settle_seconds:
                        refuse_new(self._bound)
                        accept_rest(listeners, start_connection, ctx.lifetime.room)
                finally:
                    remove_files(self._bound)
                    for listener in listeners:
                        listener.close()
                deadline = math.inf if self._budget is None else anyio.current_time() + self._budget
                for_connections = deadline - self._kept_for_lifespan
                await self._settle(for_connections)
                self._begin_drain(for_connections, services)
            with self._finishing:
                await network.finish()
            services.cancel_scope.cancel()
        return deadline

    def _start_accepting(
        self, listeners: list[Listener], ctx: ServerContext, accepting: anyio.abc.TaskGroup
    ) -> Callable[[ByteStream], None]:
        """Begin to accept; return what begins a connection."""
        def start_connection(stream: ByteStream) -> None:
            Http1Connection(stream, ctx).start()

        for listener in listeners:
            accepting.start_soon(
                partial(accept_loop, shared=self._get_sockets is not None), listener, start_connection,
                ctx.lifetime.room)
        return start_connection

    def _announce(self, listeners: list[Listener], engine: str) -> None:
        self._core.shield = True
        self.engine = engine
        self.addresses = [listener.address for listener in listeners]
        if self._announces:
            for listener in listeners:
                scheme = "https" if isinstance(listener, TlsListener) else "http"
                log.info("Listening on %s (%s, %s)", shown(listener.address, scheme), running_backend(), engine)
        self._ready.set()

    async def _delay_shutdown(self) -> None:
        """Keep accepting while load balancers take notice."""
        if self._config.shutdown_delay:
            with anyio.move_on_after(self._config.shutdown_delay):
                await self._shutdown_forced.wait()

    def _announce_end(self) -> None:
        """From now on each response tells its client that it is the last of its connection."""
        self._lifetime.closing = True
        self._lifetime.shutdown.set()
        for connection in self._lifetime.connections:
            connection.announce_end()

    @property
    def _kept_for_lifespan(self) -> float:
        """Seconds of the shutdown's budget."""
        return 0.0 if self._budget is None else min(LIFESPAN_SECONDS, LIFESPAN_SHARE * self._budget)

    async def _settle(self, deadline: float) -> None:
        """Give clients the time to learn that the next response on their connection is its last.

        A client that sends a request while its idle connection is being closed cannot know whether it was received
        (RFC 9112 §9.5). Who is about to send gets an answer; who has been silent for long will hardly begin now.
        """
        self._announce_end()
        lifetime = self._lifetime
        if self._settle_seconds and lifetime.connections:
            lifetime.when_empty = self._settling.cancel
            with self._settling, anyio.move_on_at(min(anyio.current_time() + self._settle_seconds, deadline)):
                await anyio.sleep_forever()

    def _begin_drain(self, deadline: float, services: anyio.abc.TaskGroup) -> None:
        """Idle connections go now, requests in progress get until the deadline."""
        self._lifetime.draining = True
        for connection in list(self._lifetime.connections):
            connection.drain()
        services.start_soon(self._end_connections_at, deadline)

    async def _end_connections_at(self, deadline: float) -> None:
        with anyio.move_on_at(deadline):
            await self._shutdown_forced.wait()
        for connection in list(self._lifetime.connections):
            connection.cancel("shutdown-deadline")
        self._finishing.cancel()

    def _make_context(
        self, network: Network, lifespan: Lifespan, parse_fields: Any, start_soon: Any
    ) -> ServerContext:
        access_log = self._access_log
        return make_context(
            self._config,
            self._app,
            clock=network.clock,
            parse_fields=parse_fields,
            start_soon=start_soon,
            access_log=access_log if access_log is not None and access_log.enabled else None,
            on_requests_spent=self._on_requests_spent,
            new_app_context=lifespan.context.copy,
            state=lifespan.state,
            lifetime=self._lifetime,
            tls=self._certificates is not None,
        )

    def _stop_after_requests(self) -> None:
        self.request_shutdown("limit-max-requests")


async def serve(
    app: AnyApp,
    config: Config | None = None,
    *,
    sockets: Sequence[socket.socket] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    task_status: anyio.abc.TaskStatus[list[Address]] = anyio.TASK_STATUS_IGNORED,
    **options: Any,
) -> None:
    """Serve ``app`` inside a running trio or asyncio program, until cancelled, which is a graceful stop.

    The application is ASGI 3, ASGI 2 or WSGI. ``addresses = await nursery.start(trioserve.serve, app, config)``
    returns when requests can come, with the bound ``(host, port)`` pairs, or ``(path, None)`` for unix sockets; those
    of ``insecure_bind`` come last. ``sockets``, bound by the program, take the place of the addresses in the options,
    except for ``insecure_bind``; the server closes them. An ``ssl_context`` takes the place of the options for
    certificates, and is used as it is. No signal handlers are installed and logging is left alone. ``options`` are
    fields of ``Config`` and override those of ``config``.

    Raises:
        ConfigError: an option is unknown or has a value it cannot have, or a certificate file is not usable.
        AppNotFound: ``app`` is none: it cannot be called.
        BindFailed: an address is in use or not permitted, or a socket cannot be listened on.
        StartupFailed: the application's lifespan failed.
        LifespanDied: the application's lifespan died later.
    """
    server = Server(app, (config or Config()).replace(**options), sockets=sockets, ssl_context=ssl_context)
    await server.serve(task_status=task_status)


def _only_ours(group: BaseExceptionGroup[BaseException]) -> TrioserveError:
    """The one error that made the server stop, out of the groups that the task groups put around it."""
    ours, others = group.split(TrioserveError)
    if others is not None or ours is None:
        raise group
    error: BaseException = ours
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, TrioserveError)
    return error
