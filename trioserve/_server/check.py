"""A rehearsal: does the application start and stop?"""

import anyio

from trioserve._config import Config
from trioserve._connection import Lifetime
from trioserve._errors import StartupFailed
from trioserve._server.access_log.format import compile_format
from trioserve._server.application.served import application_of
from trioserve._server.engine import choose_engine
from trioserve._server.lifespan import Lifespan
from trioserve._server.shutdown import LIFESPAN_SECONDS
from trioserve._server.tasks import BackgroundTasks
from trioserve._server.tls import load_certificates
from trioserve._streams import running_backend
from trioserve._types import AnyApp

__all__ = ["check"]


async def check(app: AnyApp, config: Config) -> None:
    """Run the start-up and the shutdown of the application's lifespan, after a look at certificates and libraries.

    Nothing is bound, no request served.

    Raises:
        ConfigError: as for a server, as far as it shows without one.
        StartupFailed: the application refused to start, failed to stop, or did not stop in a server's time.
        TaskCrashed: a background task that the start-up has started raised an exception.
    """
    compile_format(config.access_log_format)
    choose_engine(config.http)
    load_certificates(config, None)
    tasks = BackgroundTasks(lambda reason: None)
    offered = Lifetime(tasks.start, tasks.running).extensions()
    lifespan = Lifespan(application_of(app, config), config, running_backend(), offered, lambda reason: None)
    seconds = config.timeout_graceful_shutdown
    if seconds is not None:
        seconds = max(seconds, LIFESPAN_SECONDS)
    async with anyio.create_task_group() as app_lifetime:
        async with anyio.create_task_group() as nursery:
            tasks.open(nursery)
            await app_lifetime.start(lifespan.run)
            nursery.cancel_scope.cancel()
        with anyio.move_on_after(seconds) as budget:
            await lifespan.shutdown()
        app_lifetime.cancel_scope.cancel()
    if (failure := lifespan.failure or tasks.failure) is not None:
        raise failure
    if budget.cancelled_caught:
        raise StartupFailed(f"the application's lifespan did not end within {seconds:g} s")
    if lifespan.shutdown_failed:
        raise StartupFailed("the application's lifespan failed during shutdown")
