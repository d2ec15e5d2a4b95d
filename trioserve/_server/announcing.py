"""The start lines of a server."""

import logging
from collections.abc import Iterable

from trioserve._complaints import complain
from trioserve._config.addresses import shown, shown_here
from trioserve._streams import Listener, TlsListener, running_backend

__all__ = ["announce", "announce_pages", "shown_listener"]

log = logging.getLogger("trioserve")


def announce(listeners: Iterable[Listener], engine: str, how_to_stop: str) -> None:
    """Say where the server listens, and if anything is given, what a person can do to stop it."""
    for listener in listeners:
        here = shown_here(listener.address, _scheme(listener))
        complain(log, "Listening on %s (%s, %s)%s%s", shown_listener(listener), running_backend(), engine,
                 f", on this machine {here}" if here else "", f", {how_to_stop}" if how_to_stop else "",
                 level=logging.INFO)


def announce_pages(listeners: Iterable[Listener], app: object) -> None:
    """Say where FastAPI's pages about the API are, if the application is one of FastAPI's that has them."""
    path = getattr(app, "__dict__", {}).get("docs_url")
    first = next(iter(listeners), None)
    if isinstance(path, str) and first is not None and first.address[1] is not None:
        where = shown_here(first.address, _scheme(first)) or shown_listener(first)
        complain(log, "The API is documented at %s%s", where, path, level=logging.INFO)


def shown_listener(listener: Listener) -> str:
    """Its address, for people."""
    return shown(listener.address, _scheme(listener))


def _scheme(listener: Listener) -> str:
    return "https" if isinstance(listener, TlsListener) else "http"
