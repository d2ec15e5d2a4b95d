"""The answer to ``GET /metrics``, with or without the library that writes it."""

from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Final, NamedTuple

from trioserve._admin.metrics.samples import Snapshot
from trioserve._types import Receive, Scope, Send

__all__ = ["Measured", "MetricsApp", "Page", "metrics_page"]

PLAIN: Final = "text/plain; charset=utf-8"
MISSING: Final = (
    b"/metrics needs the library prometheus-client, which is not installed.\n"
    b'Install it: pip install "trioserve[metrics]"\n'
)


class Measured(NamedTuple):
    """What is to be shown: the numbers of all processes together, and their pids."""

    snapshot: Snapshot
    pids: Collection[int]


class Page(NamedTuple):
    """What is answered."""

    status: int
    content_type: str
    body: bytes


SILENT: Final = Page(503, PLAIN, b"the supervisor, which knows the numbers of all workers, does not answer\n")


class MetricsApp:
    """An ASGI application: the whole of ``/metrics``. ``measure`` asks the processes; ``None`` when nobody answers."""

    def __init__(self, measure: Callable[[], Awaitable[Measured | None]]) -> None:
        self._measure = measure
        _load_writer()  # takes up to a twentieth of a second, in which the first scrape would keep all requests waiting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        accept = b",".join(value for name, value in scope["headers"] if name == b"accept")
        measured = await self._measure()
        page = SILENT if measured is None else metrics_page(measured, accept.decode("latin-1"))
        headers = [
            (b"content-type", page.content_type.encode()), (b"content-length", b"%d" % len(page.body)),
            (b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"),
        ]  # fmt: skip
        await send({"type": "http.response.start", "status": page.status, "headers": headers})
        await send({"type": "http.response.body", "body": page.body})


def metrics_page(measured: Measured, accept: str) -> Page:
    """``accept``: the request's fields of that name (RFC 9110 §12.5.1), or ``""``.

    Without the library the status is 501 (RFC 9110 §15.6.2), and the body says what to install.
    """
    write = _load_writer()
    if write is None:
        return Page(501, PLAIN, MISSING)
    return Page(200, *write(measured.snapshot, measured.pids, accept))


def _load_writer() -> Callable[[Snapshot, Iterable[int], str], tuple[str, bytes]] | None:
    """``exposed``, if its library is installed."""
    try:
        from trioserve._admin.metrics.exposition import exposed
    except ModuleNotFoundError as exc:
        if exc.name != "prometheus_client":
            raise
        return None
    return exposed
