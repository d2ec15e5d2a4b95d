"""From what is given to what is served: one interface, and around it what the configuration asks for."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import cast

from trioserve._config import Config
from trioserve._host_names import HostNames
from trioserve._server.application.interface import adapt
from trioserve._server.application.only_hosts import only_for_hosts
from trioserve._server.application.opened_app import OpenedApp
from trioserve._server.application.openers import is_opener, open_with
from trioserve._server.trace import traced
from trioserve._types import AnyApp, App

__all__ = ["application_of", "surrounded"]


def application_of(
    app: AnyApp, config: Config, around: Callable[[App], App] | None = None
) -> App | OpenedApp:
    """An application of ASGI 3, or one that has to be opened first. Raises AppNotFound as ``adapt`` does.

    ``around`` puts something outermost around what is served.
    """
    if is_opener(app):
        return OpenedApp(app, partial(_prepare, config=config, around=around), config.lifespan)
    return _prepare(app, config, around)


def surrounded(app: AnyApp, config: Config, around: Callable[[App], App]) -> AnyApp:
    """``app`` with ``around`` around what it serves; a context manager stays one.

    Raises AppNotFound as ``adapt`` does.
    """
    if not is_opener(app):
        return around(adapt(app, config))

    @asynccontextmanager
    async def opened() -> AsyncGenerator[App, None]:
        async with open_with(app) as yielded:
            yield around(adapt(yielded, config))

    return cast("AnyApp", opened)


def _prepare(app: AnyApp, config: Config, around: Callable[[App], App] | None) -> App:
    served = traced(adapt(app, config))
    if config.server_name:
        served = only_for_hosts(HostNames(config.server_name), served)
    return around(served) if around is not None else served
