"""From an application, or its name, to a server that runs until a signal stops it: owns the event loop.

``run()`` is for programs and raises; ``run_command()`` is for the command line and ends in an exit code.
"""

import json
import logging
import os
import signal
import ssl
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio

from trioserve._config import Config
from trioserve._errors import ConfigError, TrioserveError
from trioserve._server import Server, check
from trioserve._streams import is_in_event_loop
from trioserve._supervisor.activation import activated_sockets
from trioserve._supervisor.attended import attended
from trioserve._supervisor.birth import is_worker, shall_be_worker
from trioserve._supervisor.departure import DepartingServer, Departure
from trioserve._supervisor.event_loop import made_in_advance, without_own_loop
from trioserve._supervisor.logs import set_up_logging
from trioserve._supervisor.preparation import (
    depart_after,
    failure_ends,
    in_main_thread,
    load,
    load_env_file,
    show_origin,
)
from trioserve._supervisor.process_name import show_name
from trioserve._supervisor.signals import (
    INTERRUPTED,
    NO_OTHERS,
    STOP_SIGNALS,
    USER_SIGNALS,
    Stoppable,
    how_to_stop,
    obey_signals,
    survived,
)
from trioserve._supervisor.standard_streams import open_standard_streams
from trioserve._supervisor.tree_log import call_at_usr1, log_tree
from trioserve._types import AnyApp

if TYPE_CHECKING:
    from trioserve._supervisor.overview import Overview

__all__ = ["check_command", "run", "run_command"]

IN_EVENT_LOOP: Final = (
    "trioserve.run() starts an event loop, and one runs in this thread already: await trioserve.serve(app, ...) there, "
    "or use trioserve.testing.serve_in_thread(app, ...)")

log = logging.getLogger("trioserve")


def run(app: AnyApp | str, *, ssl_context: ssl.SSLContext | None = None, **options: Any) -> None:
    """Serve ``app``, an application or its name ``"module:attribute"``, until a signal stops it.

    The application is ASGI 3, ASGI 2 or WSGI, or an async context manager that yields one. ``options`` are fields of
    ``Config``; an ``ssl_context`` of one's own takes the place of those for certificates. Logging is set up, unless the
    logger ``trioserve`` has a handler already and no ``log_config`` is given.
    SIGINT and SIGTERM stop the server gracefully, a second one at once; SIGHUP reads certificate files again, or stops
    the server if it has none. In a thread other than the main one, where Python hears no signals, it runs until
    ``limit_max_requests`` or the end of the process. When a signal has stopped the server and the program has ended,
    threads that are still running get as long as ``timeout_graceful_shutdown``; then the process ends without them.

    Raises:
        ConfigError: an option is unknown, has a value it cannot have, or names a package or file that is not usable.
        AppNotFound: ``app`` names nothing that could be served.
        AppLoadFailed: the application's module or factory raised.
        BindFailed: the address is in use or not permitted.
        StartupFailed: the application's lifespan failed.
        LifespanDied: the application's lifespan died later.
        TaskCrashed: a background task of the application's raised an exception.
        RuntimeError: an event loop runs in this thread already, as in a notebook.
    """
    if is_in_event_loop():
        raise RuntimeError(IN_EVENT_LOOP)
    config = Config.from_options(options)
    if config.log_config is not None or not logging.getLogger("trioserve").handlers:
        set_up_logging(config)
    _run(app, config, Departure(config.longest_shutdown, ends_process=False), ssl_context)


def run_command(target: str, config: Config, spell: Callable[[str], str], file: str | None = None) -> int:
    """``run()`` for the command line: what goes wrong ends as a line on stderr; returns the exit code.

    ``spell`` says how the user named an option, for a ``ConfigError``; ``file`` is the one that options were read from.
    """
    return _exit_code_of(_run, target, config, spell, file)


def check_command(target: str, config: Config, spell: Callable[[str], str], file: str | None = None) -> int:
    """The same for ``--check``: the application is loaded, started and stopped."""
    code = _exit_code_of(_run_check, target, config, spell, file)
    if code == 0:
        print(f"{target} loads, starts and stops", file=sys.stderr)
    return code


def _exit_code_of(
    serve: Callable[[str, Config, Departure], None], target: str, config: Config, spell: Callable[[str], str],
    file: str | None,
) -> int:
    try:
        set_up_logging(config)
        if file is not None:  # nobody has typed what it says
            log.info("Options come from %s (--no-config: read no file)", file)
        serve(target, config, Departure(config.longest_shutdown, ends_process=True))
    except TrioserveError as exc:
        report(exc, spell)
        return exc.exit_code
    except KeyboardInterrupt:  # while the application was imported, or its own; later, signals are the server's
        return INTERRUPTED
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt) is None:
            raise
        return INTERRUPTED
    finally:
        _abandon_broken_stdout()
    return 0


def report(error: TrioserveError, spell: Callable[[str], str]) -> None:
    """One line on stderr, after where the error comes from."""
    show_origin(error)
    text = f"{spell(error.option)}: {error.problem}" if isinstance(error, ConfigError) else str(error)
    print(f"Error: {text}", *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)


def _run(
    app: AnyApp | str, config: Config, departure: Departure, ssl_context: ssl.SSLContext | None = None
) -> None:
    if shall_be_worker():  # a frozen program, which its supervisor has started again
        from trioserve._supervisor.worker import become_worker

        become_worker()
    if config.workers > 1 or config.reload:
        if ssl_context is not None:
            option = "reload" if config.reload else "workers"
            raise ConfigError(option, "an ssl_context cannot be given to worker processes; use ssl_certfile")
        target = _importable(app, config)
        show_name(config, "supervisor")
        _in_event_loop(_supervise, without_own_loop(config), departure, target, config, departure)
        return
    show_name(config)
    if config.env_file is not None:
        load_env_file(config.env_file)
    _in_event_loop(_serve, config, departure, config, departure, ssl_context, app=app)


def _run_check(target: str, config: Config, departure: Departure) -> None:
    if config.env_file is not None:
        load_env_file(config.env_file)
    _in_event_loop(_check, config, departure, config, app=target)


def _in_event_loop(
    function: Callable[..., Coroutine[Any, Any, None]], config: Config, departure: Departure, *args: Any,
    app: AnyApp | str | None = None,
) -> None:  # fmt: skip
    """Run ``function``. Its first argument is ``app``, if there is one, which is imported before."""
    open_standard_streams()
    if config.umask is not None:
        os.umask(int(config.umask, 8))
    try:
        with survived(USER_SIGNALS) if in_main_thread() else nullcontext(), made_in_advance(config) as options:
            if isinstance(app, str):
                with failure_ends(departure):
                    app = load(app, config)
            if app is not None:
                args = (app, *args)
            anyio.run(depart_after, departure, function, *args, backend=config.backend, backend_options=options)
    finally:
        departure.event_loop_has_ended()


async def _serve(
    app: AnyApp, config: Config, departure: Departure, ssl_context: ssl.SSLContext | None
) -> None:
    """Serve the application in this process; signals are heard before its start-up begins."""
    server = Server(
        app, config, sockets=activated_sockets(config), ssl_context=ssl_context,
        how_to_stop=how_to_stop() if in_main_thread() else "")
    stop_signals, others = _hang_up(server)
    others = {**others, **call_at_usr1(partial(log_tree, server))}
    if config.pid_file is None and config.when_ready is None and "NOTIFY_SOCKET" not in os.environ:
        departing = DepartingServer(server, departure)
        await attended(server.serve, *_signals_of(departing, departure, stop_signals, others))
        return
    from trioserve._supervisor.service import ReportingServer, Service  # somebody asks; nobody else pays for them

    with Service(config) as service:
        reporting = ReportingServer(server, service)
        departing = DepartingServer(reporting, departure)
        await attended(
            reporting.serve, *_signals_of(departing, departure, stop_signals, others), service.keep_watchdog,
            service.hooks.run)


async def _supervise(target: str, config: Config, departure: Departure) -> None:
    """Serve by other processes. Their time is the supervisor's own affair; it ends when they have."""
    from trioserve._supervisor.service import Service
    from trioserve._supervisor.supervisor import Supervisor  # not imported by a single process

    with Service(config) as service:
        supervisor = Supervisor(target, config, service)
        others = {**supervisor.signals, **call_at_usr1(supervisor.log_tree)}
        run: Callable[[], Awaitable[None]] = supervisor.run
        if config.admin is not None and supervisor.overview is not None:
            run = partial(_run_with_admin, supervisor.run, supervisor.overview, config)
        await attended(run, *_signals_of(supervisor, departure, others=others), service.hooks.run)


async def _run_with_admin(run: Callable[[], Awaitable[None]], overview: "Overview", config: Config) -> None:
    """One admin listener shows all workers."""
    from trioserve._admin.app import AdminApp
    from trioserve._admin.metrics.page import MetricsApp
    from trioserve._server.admin_listener import serve_beside

    app = AdminApp(
        overview.workers, names=config.admin_host, beside={"/metrics": MetricsApp(overview.metrics.measure)},
        token=overview.token)
    await serve_beside(run, app, config)


def _signals_of(
    server: Stoppable, departure: Departure, stop_signals: Iterable[signal.Signals] = STOP_SIGNALS,
    others: Mapping[signal.Signals, Callable[[], None]] = NO_OTHERS,
) -> list[Callable[..., Coroutine[Any, Any, None]]]:  # fmt: skip
    """The attendant that hears signals; Python hears them in the main thread only."""
    if not in_main_thread():
        return []
    afterwards = departure.hurry if departure.ends_process else None

    async def hear_signals(*, task_status: anyio.abc.TaskStatus[None]) -> None:  # its name is the task's
        await obey_signals(server, stop_signals, others, afterwards=afterwards, task_status=task_status)

    return [hear_signals]


def _hang_up(server: Server) -> tuple[tuple[signal.Signals, ...], Mapping[signal.Signals, Callable[[], None]]]:
    """The signals that stop a single process, and others with what they call.

    SIGHUP reads the certificate files again, or stops the server if it has none, because a terminal has closed; unless
    somebody, such as nohup or the application, has another use for it.
    """
    if sys.platform == "win32":
        return STOP_SIGNALS, NO_OTHERS
    if server.has_certificate_files:
        return STOP_SIGNALS, {signal.SIGHUP: server.reload_certificates}
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        return (*STOP_SIGNALS, signal.SIGHUP), NO_OTHERS
    return STOP_SIGNALS, NO_OTHERS


def _importable(app: AnyApp | str, config: Config) -> str:
    """``app``, if a worker process can import it. Raises ConfigError otherwise."""
    option, what = ("reload", "reloading") if config.reload else ("workers", "running several workers")
    if is_worker():
        raise ConfigError(
            option, f"{what} needs a supervisor, which a worker process cannot be: the application calls "
            "trioserve.run() when it is imported; do that under if __name__ == '__main__'")
    if sys.platform == "win32":
        raise ConfigError(option, f"{what} needs a system with POSIX processes, which Windows is not")
    if not isinstance(app, str):
        raise ConfigError(
            option, f"{what} needs the application's name, such as 'main:app', not the application: each worker "
            "process imports it")
    if config.log_config is not None and not isinstance(config.log_config, str):
        _check_can_be_sent(config.log_config)
    return app


def _check_can_be_sent(log_config: Mapping[str, Any]) -> None:
    try:
        json.dumps(log_config)
    except (TypeError, ValueError) as exc:
        raise ConfigError("log_config", f"the dict cannot be given to worker processes, name a file: {exc}") from None


async def _check(app: AnyApp, config: Config) -> None:
    from trioserve._supervisor.hooks import Hooks

    Hooks(config)
    await check(app, config)


def _abandon_broken_stdout() -> None:
    """Python flushes stdout as it ends. Where nobody reads it (``trioserve ... | head``) that makes exit code 120."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
