"""The listener of ``--admin``: the admin application, served by our own server code in a nursery of its own.

It shares nothing with the main listeners but the event loop. So it answers when they are full, and while they drain.
"""

import logging
from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import anyio.abc

from trioserve._admin.app import AdminApp
from trioserve._complaints import complain
from trioserve._config import Config
from trioserve._config.addresses import shown, shown_here
from trioserve._connection import Lifetime
from trioserve._errors import TrioserveError
from trioserve._server.connections import Connections
from trioserve._server.engine import choose_engine
from trioserve._server.lifespan import Lifespan
from trioserve._server.loop_guard.counts import StallCounts
from trioserve._server.opening import Listeners
from trioserve._server.shutdown import Shutdown
from trioserve._server.tasks import BackgroundTasks
from trioserve._streams import open_network, running_backend

__all__ = ["serve_beside"]

MOST_CONNECTIONS = 100
FAREWELL_SECONDS = 1.0  # for those who watch, to be told that the server has stopped

log = logging.getLogger("trioserve")


async def serve_beside(run: Callable[[], Awaitable[None]], app: AdminApp, config: Config) -> None:
    """Run a server, and answer on ``config.admin`` from before its start to after its end.

    Raises:
        TrioserveError: what ``run`` raises, as it is and not in an ExceptionGroup; or the address cannot be had.
    """
    failure = None
    stopped = anyio.Event()
    async with anyio.create_task_group() as beside:
        try:
            await beside.start(_serve_admin, app, config, stopped)
            await run()
        except TrioserveError as exc:  # kept, because the task group would put it into a group
            failure = exc
        finally:
            stopped.set()
    if failure is not None:
        raise failure


async def _serve_admin(
    app: AdminApp, config: Config, stopped: anyio.Event, *,
    task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:  # fmt: skip
    """Serve ``app`` on ``config.admin`` until the server has ``stopped``. "Started" means that it answers.

    Raises:
        BindFailed: the address cannot be had.
    """
    assert config.admin is not None, "it is asked for"
    own = Config(
        bind=(config.admin,), uds_permissions="600", http=config.http, http2=False, ws="none", lifespan="off",
        access_log=False, proxy_headers=False, request_id_header="off", limit_connections=MOST_CONNECTIONS,
        on_disconnect="notify")  # a snapshot of all workers may take longer than the grace
    listeners = Listeners(own, sockets=None, get_sockets=None, ready=None, ssl_context=None)
    _, parse_fields = choose_engine(own.http)
    network = open_network()
    tasks = BackgroundTasks(_ignore)  # which has no nursery, because nobody starts one
    lifetime = Lifetime(tasks.start, tasks.running, room=anyio.Semaphore(MOST_CONNECTIONS))
    connections = Connections(own, lifetime, Shutdown(own, lifetime), _ignore, (), StallCounts())
    lifespan = Lifespan(app, own, running_backend(), {}, _ignore)  # is never run: it has none
    try:
        await listeners.bind()
        await listeners.open(network)
        async with anyio.create_task_group() as serving:
            serving.start_soon(
                connections.run, listeners, network, lifespan, parse_fields,
                partial(_announce, listeners, app, task_status))
            await stopped.wait()
            with anyio.move_on_after(FAREWELL_SECONDS):
                await app.end_streams()
            serving.cancel_scope.cancel()
    finally:
        listeners.close()


def _ignore(reason: str) -> None:
    """The admin listener has no end of its own."""


def _announce(listeners: Listeners, app: AdminApp, task_status: anyio.abc.TaskStatus[None]) -> None:
    for listener in listeners:
        where = shown(listener.address)
        if listener.address[1] is None:
            complain(log, "Admin listener on %s (token %s)", where, app.token, level=logging.INFO)
        else:
            page = (shown_here(listener.address) or where) + f"/#token={app.token}"
            complain(log, "Admin listener on %s, its page: %s", where, page, level=logging.INFO)
    task_status.started()
