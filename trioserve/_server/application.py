"""From what is given to what is served: one interface, and around it what the configuration asks for."""

from functools import partial

from trioserve._config import Config
from trioserve._host_names import HostNames
from trioserve._server.interface import adapt
from trioserve._server.only_hosts import only_for_hosts
from trioserve._server.opened_app import OpenedApp
from trioserve._server.openers import is_opener
from trioserve._server.trace import traced
from trioserve._types import AnyApp, App

__all__ = ["application_of"]


def application_of(app: AnyApp, config: Config) -> App | OpenedApp:
    """An application of ASGI 3, or one that has to be opened first. Raises AppNotFound as ``adapt`` does."""
    if is_opener(app):
        return OpenedApp(app, partial(_prepare, config=config), config.lifespan)
    return _prepare(app, config)


def _prepare(app: AnyApp, config: Config) -> App:
    served = traced(adapt(app, config))
    return only_for_hosts(HostNames(config.server_name), served) if config.server_name else served
