"""The event loop that runs the application: trio's, asyncio's, uvloop's, or one that a function of the user's makes."""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import anyio.lowlevel

from trioserve._config import Config
from trioserve._errors import ConfigError
from trioserve._supervisor.app_loader import load_function

__all__ = ["backend_options", "made_in_advance", "without_own_loop"]


def backend_options(config: Config) -> dict[str, Any]:
    """What anyio has to know to make the event loop.

    Raises:
        ConfigError: ``loop`` does not fit ``backend``, is not installed, or names no function that makes one.
        AppLoadFailed: the function's module raised.
    """
    if config.backend == "trio":
        if config.loop != "auto":
            raise ConfigError("loop", f"{config.loop!r} is an event loop of asyncio: use it with --backend asyncio")
        return {}
    if _is_own(config.loop):
        function = load_function("loop", config.loop, app_dir=config.app_dir, arguments=())
        return {"loop_factory": partial(_make, function, config.loop)}
    installed = importlib.util.find_spec("uvloop") is not None
    if config.loop == "uvloop" and not installed:
        raise ConfigError("loop", "uvloop is not installed; install trioserve[standard], or choose asyncio")
    return {"use_uvloop": installed and config.loop != "asyncio"}


@contextmanager
def made_in_advance(config: Config) -> Iterator[dict[str, Any]]:
    """What anyio has to know to run an event loop that exists already, and is closed after the block.

    On asyncio it is the current one in the block, as long as nobody sets another: an application that asks for it while
    it is imported gets the one that will run. Raises as ``backend_options``.
    """
    options = backend_options(config)
    if config.backend == "trio":
        yield options
        return
    import asyncio  # not for trio

    loop = _maker(options)()
    asyncio.set_event_loop(loop)
    try:
        yield {"loop_factory": lambda: loop}
    finally:
        if not loop.is_closed():  # it has not run
            loop.close()
        asyncio.set_event_loop(None)


def _maker(options: dict[str, Any]) -> Callable[[], Any]:
    if "loop_factory" in options:
        maker: Callable[[], Any] = options["loop_factory"]
    elif options["use_uvloop"]:
        from uvloop import new_event_loop as maker
    else:
        from asyncio import new_event_loop as maker
    return maker


def without_own_loop(config: Config) -> Config:
    """For a supervisor, which imports nothing of the application: a change of the code must reach a new worker."""
    return config.replace(loop="auto") if _is_own(config.loop) else config


def _is_own(loop: str) -> bool:
    return ":" in loop


def _make(function: Callable[[], Any], target: str) -> Any:
    try:
        loop = function()
    except Exception as exc:  # the user's code: it may raise anything
        raise ConfigError("loop", f"{target!r} raised {type(exc).__name__}: {exc}") from exc
    if not hasattr(loop, "run_until_complete"):
        raise ConfigError("loop", f"{target!r} returned {loop!r:.100}, which is no event loop of asyncio")
    if loop.get_task_factory() is not None:
        _try_task_factory(loop, target)
    return loop


def _try_task_factory(loop: Any, target: str) -> None:
    """Some event loops cannot work with some factories: uvloop with the eager one of Python 3.13.0."""
    task = anyio.lowlevel.checkpoint()
    try:
        loop.run_until_complete(task)
    except Exception as exc:  # of the user's factory
        task.close()
        loop.close()
        raise ConfigError("loop", f"{target!r} returned an event loop whose task factory fails: "
                                  f"{type(exc).__name__}: {exc}") from exc
