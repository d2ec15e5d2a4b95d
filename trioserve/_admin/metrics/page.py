"""The answer to ``GET /metrics``, with or without the library that writes it."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from trioserve._admin.metrics.samples import Snapshot

__all__ = ["Page", "metrics_page"]

PLAIN: Final = "text/plain; charset=utf-8"
MISSING: Final = (
    b"/metrics needs the library prometheus-client, which is not installed.\n"
    b'Install it: pip install "trioserve[metrics]"\n'
)


class Page(NamedTuple):
    """What is answered."""

    status: int
    content_type: str
    body: bytes


def metrics_page(snapshot: Snapshot, pids: Iterable[int], accept: str) -> Page:
    """``accept``: the request's field of that name, or ``""``. ``pids``: the processes that serve.

    The library is imported by the first request, because its import takes a twentieth of a second. Without it the
    status is 501 (RFC 9110 §15.6.2), and the body says what to install.
    """
    try:
        from trioserve._admin.metrics.exposition import exposed
    except ModuleNotFoundError as exc:
        if exc.name != "prometheus_client":
            raise
        return Page(501, PLAIN, MISSING)
    return Page(200, *exposed(snapshot, pids, accept))
