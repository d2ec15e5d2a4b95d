"""From an application, or its name, to a server that runs until a signal stops it: owns the event loop.

``run()`` is for programs and raises; ``run_command()`` is for the command line and ends in an exit code.
"""

import importlib.util
import logging
import os
import ssl
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, Final

import anyio

from trioserve._config import Config
from trioserve._errors import AppLoadFailed, ConfigError, TrioserveError
from trioserve._hints import backend_hint
from trioserve._server import Server, check
from trioserve._supervisor.activation import activated_sockets
from trioserve._supervisor.app_loader import load_app, without_loader_frames
from trioserve._supervisor.logs import set_up_logging
from trioserve._supervisor.signals import ctrl_c_interrupts, obey_signals
from trioserve._types import AnyApp

__all__ = ["check_command", "run", "run_command"]

INTERRUPTED: Final = 130  # 128 + SIGINT, a shell's exit code for Ctrl-C


def run(app: AnyApp | str, *, ssl_context: ssl.SSLContext | None = None, **options: Any) -> None:
    """Serve ``app``, an application or its name ``"module:attribute"``, until a signal stops it.

    The application is ASGI 3, ASGI 2 or WSGI. ``options`` are fields of ``Config``; an ``ssl_context`` of one's own
    takes the place of those for certificates. Logging is set up, unless the logger ``trioserve`` has a handler already
    and no ``log_config`` is given.
    SIGINT and SIGTERM stop the server gracefully, a second one at once; in a thread other than the main one, where
    Python hears no signals, it runs until ``limit_max_requests`` or the end of the process.

    Raises:
        ConfigError: an option is unknown, has a value it cannot have, or names a package or file that is not usable.
        AppNotFound: ``app`` names nothing that could be served.
        AppLoadFailed: the application's module or factory raised.
        BindFailed: the address is in use or not permitted.
        StartupFailed: the application's lifespan failed.
        LifespanDied: the application's lifespan died later.
    """
    config = Config.from_options(options)
    if config.log_config is not None or not logging.getLogger("trioserve").handlers:
        set_up_logging(config)
    _run(partial(_serve, ssl_context=ssl_context), app, config)


def run_command(target: str, config: Config, spell: Callable[[str], str]) -> int:
    """``run()`` for the command line: what goes wrong ends as a line on stderr; returns the exit code.

    ``spell`` says how the user named an option, for a ``ConfigError``.
    """
    return _exit_code_of(_serve, target, config, spell)


def check_command(target: str, config: Config, spell: Callable[[str], str]) -> int:
    """The same for ``--check``: the application is loaded, started and stopped."""
    code = _exit_code_of(_check, target, config, spell)
    if code == 0:
        print(f"{target} loads, starts and stops", file=sys.stderr)
    return code


def _exit_code_of(
    serve: Callable[[AnyApp | str, Config], Awaitable[None]], target: str, config: Config, spell: Callable[[str], str]
) -> int:
    try:
        set_up_logging(config)
        _run(serve, target, config)
    except TrioserveError as exc:
        report(exc, spell)
        return exc.exit_code
    except KeyboardInterrupt:  # while the application was imported; later, signals are the server's
        return INTERRUPTED
    finally:
        _abandon_broken_stdout()
    return 0


def report(error: TrioserveError, spell: Callable[[str], str]) -> None:
    """One line on stderr. Before it, if the application could not be loaded, its own traceback without our frames."""
    cause = error.__cause__
    if isinstance(error, AppLoadFailed) and cause is not None:
        traceback.print_exception(type(cause), cause, without_loader_frames(cause))
    text = f"{spell(error.option)}: {error.problem}" if isinstance(error, ConfigError) else str(error)
    print(f"Error: {text}", *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)


def _run(serve: Callable[[AnyApp | str, Config], Awaitable[None]], app: AnyApp | str, config: Config) -> None:
    backend_options = _backend_options(config)
    if config.env_file is not None:
        _load_env_file(config.env_file)
    anyio.run(serve, app, config, backend=config.backend, backend_options=backend_options)


async def _serve(app: AnyApp | str, config: Config, ssl_context: ssl.SSLContext | None = None) -> None:
    """Load the application and serve it; signals are heard before its start-up begins."""
    if isinstance(app, str):
        app = _load(app, config)
    server = Server(app, config, sockets=activated_sockets(config), ssl_context=ssl_context)
    failure = None
    async with anyio.create_task_group() as listening:
        if _in_main_thread():
            await listening.start(obey_signals, server)
        try:
            await server.serve()
        except TrioserveError as exc:  # kept, because the task group would raise it in an ExceptionGroup
            failure = exc
        listening.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _check(app: AnyApp | str, config: Config) -> None:
    await check(_load(app, config) if isinstance(app, str) else app, config)


def _load(target: str, config: Config) -> AnyApp:
    """Import the application, inside the event loop: asyncio code may ask for it as soon as it is imported."""
    try:
        with ctrl_c_interrupts() if _in_main_thread() else nullcontext():
            return load_app(
                target, factory=config.factory, app_dir=config.app_dir, interface=config.interface)
    except AppLoadFailed as exc:
        if hint := backend_hint(exc, config.backend):
            exc.add_note(hint)
        raise


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _backend_options(config: Config) -> dict[str, Any]:
    """What anyio has to know to make the event loop.

    Raises:
        ConfigError: ``loop`` does not fit ``backend``, or is not installed.
    """
    if config.backend == "trio":
        if config.loop != "auto":
            raise ConfigError("loop", f"{config.loop!r} is an event loop of asyncio: use it with --backend asyncio")
        return {}
    installed = importlib.util.find_spec("uvloop") is not None
    if config.loop == "uvloop" and not installed:
        raise ConfigError("loop", "uvloop is not installed; install trioserve[standard], or choose asyncio")
    return {"use_uvloop": installed and config.loop != "asyncio"}


def _load_env_file(path: str) -> None:
    """Put the file's variables into the environment; those that are there already win.

    Raises:
        ConfigError: the file cannot be read, or python-dotenv is not installed.
    """
    try:
        from dotenv import load_dotenv
    except ImportError:
        raise ConfigError("env_file", "python-dotenv is not installed; install trioserve[standard]") from None
    try:
        with open(path, encoding="utf-8") as file:
            load_dotenv(stream=file)
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError("env_file", f"{path!r} cannot be read: {getattr(exc, 'strerror', exc)}") from exc


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
