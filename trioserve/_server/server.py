"""The root of the tree of tasks: start-up reads from the top down, shutdown from the inside out."""

import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.abc
import anyio.lowlevel

from trioserve._complaints import complain
from trioserve._config import Config
from trioserve._connection import Lifetime, Recorder
from trioserve._errors import LifespanDied, TrioserveError
from trioserve._server.announcing import announce, announce_pages, shown_listener
from trioserve._server.application.served import application_of, surrounded
from trioserve._server.connections import Connections
from trioserve._server.engine import choose_engine
from trioserve._server.lifespan import Lifespan
from trioserve._server.listeners import Bound
from trioserve._server.loop_guard.counts import StallCounts
from trioserve._server.opening import Listeners
from trioserve._server.shutdown import SETTLE_SECONDS, Phase, Shutdown
from trioserve._server.standing import Standing
from trioserve._server.tasks import BackgroundTasks
from trioserve._server.waiting import keep_saying
from trioserve._streams import Address, Listener, open_network, running_backend
from trioserve._types import AnyApp

if TYPE_CHECKING:
    from trioserve._admin.metrics.samples import Snapshot
    from trioserve._server.admin import Admin, OwnProcess, Whole

__all__ = ["Server", "serve"]

log = logging.getLogger("trioserve")


class Server:
    """One application on its listeners, for one run.

    ``sockets``, bound by somebody else, take the place of the addresses in ``config``, except for ``insecure_bind``.
    They belong to the server, which closes them; unix sockets among them stay in the file system.

    Args:
        get_sockets: takes the place of ``sockets`` and of all addresses; called when the application has started. No
            sockets at all are right when the server has been told to stop.
        on_spent: called instead of a shutdown when the process has served for long enough, with the reason:
            ``limit-max-requests``, ``limit-max-age`` or ``limit-max-rss``.
        on_phase: told when a phase of the shutdown begins: see ``Shutdown``.
        recorders: are told of each request and WebSocket that has ended, before the access log is.
        announce: say in the log where it listens.
        how_to_stop: what the line says besides, for a person.
        serves_admin: there is nobody else who listens on the address of ``admin``.
        whole: the server of several processes that this one is part of, if ``admin_path`` shows it.
    """

    def __init__(
        self, app: AnyApp, config: Config, *, sockets: Sequence[socket.socket | Bound] | None = None,
        listeners: Sequence[Listener] | None = None, ssl_context: ssl.SSLContext | None = None,
        get_sockets: Callable[[], Awaitable[Sequence[socket.socket | Bound]]] | None = None,
        on_spent: Callable[[str], None] | None = None, on_phase: Callable[[Phase], None] = lambda phase: None,
        recorders: Sequence[Recorder] = (), announce: bool = True, how_to_stop: str = "", serves_admin: bool = True,
        whole: "Whole | None" = None,
    ) -> None:  # fmt: skip
        limit = config.limit_connections
        self._given = app  # not wrapped yet: its documentation pages are announced
        self._config = config
        self._how_to_stop = how_to_stop if announce else None
        self._tasks = BackgroundTasks(self.request_shutdown)
        self._lifetime = Lifetime(
            start_task=self._tasks.start,
            running_tasks=self._tasks.running,
            closing=config.timeout_keep_alive == 0,
            room=anyio.Semaphore(limit, max_value=limit) if limit is not None else None)
        self._shutdown = Shutdown(config, self._lifetime, on_phase)
        self._standing = Standing(self._lifetime, self._shutdown, self._tasks)
        self._admin: Admin | None = None
        if config.admin is not None or config.admin_path is not None:
            self._admin = self._make_admin(serves_admin, whole)
            recorders = (*recorders, self._admin.recorder)
        if config.chaos is not None:
            from trioserve._server.chaos import under_chaos  # somebody asks; nobody else pays for it

            app = surrounded(app, config, partial(under_chaos, text=config.chaos, stop=self.request_shutdown))
        self._app = application_of(app, config, self._admin.wrapped if self._admin is not None else None)
        self._connections = Connections(
            config, self._lifetime, self._shutdown, on_spent or partial(self.request_shutdown, settle=SETTLE_SECONDS),
            recorders, self._standing.stalls)
        self._listeners = Listeners(
            config, sockets=sockets, get_sockets=get_sockets, ready=listeners, ssl_context=ssl_context)
        self._core = anyio.CancelScope()
        self._ready = anyio.Event()
        self._stopped = anyio.Event()
        self._failure: TrioserveError | None = None

    def _make_admin(self, listens: bool, whole: "Whole | None") -> "Admin":
        from trioserve._server.admin import Admin  # not for servers at which nobody looks

        return Admin(self._config, self._standing, listens=listens, whole=whole)

    # What others ask of a running server.

    @property
    def stalls(self) -> StallCounts:
        """How often the event loop stood still for longer than ``warn_blocked``, if that is watched."""
        return self._standing.stalls

    def request_shutdown(self, reason: str, *, settle: float = 0.0, within: float | None = None) -> None:
        """Stop gracefully; before the application has started, stop at once. Later calls change nothing.

        For ``settle`` seconds at most, idle connections stay open for one more request, whose response tells the
        client that it is the last. ``within`` takes the place of ``timeout_graceful_shutdown``, if it is shorter.
        """
        is_first = self._shutdown.request(reason, settle=settle, within=within)
        lifespan = self._standing.lifespan
        if is_first and not self.addresses and not (lifespan is not None and lifespan.has_started):
            self._core.cancel()

    def force_shutdown(self) -> None:
        """Do not wait for requests any longer."""
        self.request_shutdown("forced")
        self._shutdown.force()

    @property
    def open_connections(self) -> int:
        """How many connections there are."""
        return len(self._lifetime.connections)

    @property
    def addresses(self) -> list[Address]:
        """What it listens on, once it does."""
        return self._standing.addresses

    @property
    def engine(self) -> str:
        """The parser of request heads, once it listens."""
        return self._standing.engine

    def look(self) -> "OwnProcess":
        """What can be seen of it, and done to what is seen. To be used in the event loop."""
        from trioserve._server.admin import OwnProcess  # somebody asks; nobody else pays for it

        return OwnProcess(self._standing) if self._admin is None else self._admin.process

    def measure(self) -> "Snapshot":
        """What it has counted, for a server with ``--admin``. To be called in the event loop."""
        assert self._admin is not None, "somebody wants to know"
        return self._admin.metrics.snapshot()

    @property
    def has_certificate_files(self) -> bool:
        """There are files that ``reload_certificates`` can read again."""
        return self._config.ssl_certfile is not None

    def reload_certificates(self) -> None:
        """Read the certificate files again, for new connections. When they are bad, that is logged; nothing raises."""
        if self._listeners.certificates is not None:
            self._listeners.certificates.reload()

    async def serve(self, *, task_status: anyio.abc.TaskStatus[list[Address]] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until shutdown; cancelling this is a graceful stop too. Installs no signal handlers.

        ``task_status.started`` gets the bound addresses when the first request can come.

        Raises:
            TrioserveError: the server could not start, or the application's lifespan or a background task died.
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
                await (self._run_tree() if self._admin is None else self._admin.serve_beside(self._run_tree))
            if self._standing.lifespan is not None:  # it may have died before there was more to stop than the start
                self._failure = self._standing.lifespan.failure
        except TrioserveError as exc:
            self._failure = exc
        except BaseExceptionGroup as group:
            self._failure = _only_ours(group)
        finally:
            self._failure = self._failure or self._tasks.failure
            self._ready.set()
            self._stopped.set()

    async def _run_tree(self) -> None:
        async with anyio.create_task_group() as app_lifetime:
            if self._admin is not None:
                app_lifetime.start_soon(self._admin.metrics.run)
            await self._run_app_lifetime(app_lifetime)
            app_lifetime.cancel_scope.cancel()

    async def _run_app_lifetime(self, app_lifetime: anyio.abc.TaskGroup) -> None:
        """Bind, start the application, serve, then let it close its resources."""
        await anyio.lowlevel.checkpoint_if_cancelled()  # the application need not begin if it is time to stop already
        engine, parse_fields = choose_engine(self._config.http)
        listeners, network = self._listeners, open_network()
        await listeners.bind()
        self._standing.lifespan = lifespan = Lifespan(
            self._app, self._config, running_backend(), self._lifetime.extensions(), self.request_shutdown,
            self._admin.set_mark if self._admin is not None else None)
        async with anyio.create_task_group() as tasks:
            self._tasks.open(tasks)
            try:
                await app_lifetime.start(lifespan.run)
                if lifespan.failure is not None:
                    raise lifespan.failure
                await listeners.open(network)
                await self._connections.run(listeners, network, lifespan, parse_fields, partial(self._announce, engine))
            finally:
                listeners.close()  # a stop may come before the first connection can
            await self._end_tasks(app_lifetime)
        app_lifetime.start_soon(keep_saying, self._shutdown.waits_for_lifespan)
        with self._shutdown.time_for_lifespan() as lifespan_shutdown:
            await lifespan.shutdown()
        if lifespan_shutdown.cancelled_caught:
            complain(log, "shutdown-deadline: the application's lifespan did not end in time")
        if isinstance(lifespan.failure, LifespanDied):
            raise lifespan.failure
        if self._tasks.failure is None:
            complain(log, "Stopped", level=logging.INFO)

    async def _end_tasks(self, app_lifetime: anyio.abc.TaskGroup) -> None:
        """Let the application's background tasks finish; cancel those that do not."""
        app_lifetime.start_soon(keep_saying, self._shutdown.waits_for_tasks)
        with self._shutdown.time_for_tasks():
            await self._tasks.wait_until_ended()
        self._tasks.close("shutdown-deadline")

    def _announce(self, engine: str) -> None:
        """The first request can come; from now on a cancellation of the caller is a request to stop."""
        self._core.shield = True
        standing, listeners = self._standing, self._listeners
        standing.engine, standing.http2_engine = engine, self._connections.http2_engine
        standing.addresses = [listener.address for listener in listeners]
        standing.shown = [shown_listener(listener) for listener in listeners]
        if self._how_to_stop is not None:
            announce(listeners, engine, self._how_to_stop)
            if self._config.reload and not self._config.root_path:
                announce_pages(listeners, self._given)
            if self._admin is not None:
                self._admin.announce(standing.shown)
        self._ready.set()


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

    The application is ASGI 3, ASGI 2 or WSGI, or an async context manager that yields one. ``addresses = await
    nursery.start(trioserve.serve, app, config)`` returns when requests can come, with the bound ``(host, port)`` pairs,
    or ``(path, None)`` for unix sockets; those of ``insecure_bind`` come last. ``sockets``, bound by the program, take
    the place of the addresses in the options, except for ``insecure_bind``; the server closes them. An ``ssl_context``
    takes the place of the options for certificates, and is used as it is. No signal handlers are installed and logging
    is left alone. ``options`` are fields of ``Config`` and override those of ``config``.

    Raises:
        ConfigError: an option is unknown or has a value it cannot have, or a certificate file is not usable.
        AppNotFound: ``app`` is none, or yields none: it cannot be called.
        BindFailed: an address is in use or not permitted, or a socket cannot be listened on.
        StartupFailed: the application's lifespan failed.
        LifespanDied: the application's lifespan died later.
        TaskCrashed: a background task of the application's raised an exception.
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
