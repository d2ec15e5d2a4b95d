"""What a single process and a worker do alike before they serve: environment, event loop, application."""

import threading
import traceback
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from trioserve._config import Config
from trioserve._errors import AppLoadFailed, ConfigError, TrioserveError
from trioserve._hints import backend_hint, import_hint
from trioserve._supervisor.app_loader import load_app, without_loader_frames
from trioserve._supervisor.departure import Departure
from trioserve._supervisor.signals import heard_during_import
from trioserve._types import AnyApp

__all__ = ["depart_after", "failure_ends", "in_main_thread", "load", "load_env_file", "show_origin"]


def load_env_file(path: str) -> None:
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
    except (OSError, ValueError) as exc:  # ValueError: it is not UTF-8, or a variable has a null character
        raise ConfigError("env_file", f"{path!r} cannot be read: {getattr(exc, 'strerror', exc)}") from exc


def load(target: str, config: Config) -> AnyApp:
    """Import the application. No event loop runs: the application may run one of its own meanwhile."""
    try:
        with heard_during_import() if in_main_thread() else nullcontext():
            return load_app(
                target, factory=config.factory, app_dir=config.app_dir, interface=config.interface)
    except AppLoadFailed as exc:
        for hint in (backend_hint(exc, config.backend), import_hint(exc)):
            if hint is not None:
                exc.add_note(hint)
        raise


async def depart_after(departure: Departure, function: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
    """Call ``function``; its end is that of the server. The event loop's own end may take as long as its threads."""
    with failure_ends(departure):
        await function(*args)
    departure.server_has_ended()


@contextmanager
def failure_ends(departure: Departure) -> Iterator[None]:
    """An exception in the block is the end of the server."""
    try:
        yield
    except BaseException as exc:
        departure.server_has_ended(exc)
        raise


def show_origin(error: TrioserveError) -> None:
    """If the application could not be loaded, its own traceback without our frames, on stderr."""
    cause = error.__cause__
    if isinstance(error, AppLoadFailed) and cause is not None:
        traceback.print_exception(type(cause), cause, without_loader_frames(cause))


def in_main_thread() -> bool:
    """Where Python hears signals."""
    return threading.current_thread() is threading.main_thread()
