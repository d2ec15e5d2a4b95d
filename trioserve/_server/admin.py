"""What a server has with ``--admin`` or ``--admin-path``: a history of what has ended, and answers about its tree."""

import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from trioserve._admin.app import AdminApp
from trioserve._admin.cancelling import CancelAnswer, cancel
from trioserve._admin.drawing import MOST_NODES
from trioserve._admin.history import History
from trioserve._admin.marks import marking
from trioserve._admin.metrics.ledger import Ledger
from trioserve._admin.metrics.page import Measured, MetricsApp
from trioserve._admin.metrics.process import ProcessMetrics
from trioserve._admin.tree import Tree
from trioserve._admin.view import View
from trioserve._complaints import complain
from trioserve._config import Config
from trioserve._server.admin_listener import serve_beside
from trioserve._server.application.mounting import mounted
from trioserve._server.standing import Standing
from trioserve._streams import tasks_are_in_nurseries
from trioserve._types import App

__all__ = ["Admin", "OwnProcess"]

log = logging.getLogger("trioserve")

NOT_READY: Final = {"STARTING": "starting", "DELAY": "shutdown-delay", "DRAINING": "draining", "STOPPING": "draining"}


class OwnProcess:
    """The server of this process, as a ``Source``."""

    def __init__(self, standing: Standing, history: History | None = None) -> None:
        self._standing = standing
        self._tree = Tree(standing, history)

    def snapshot(self, view: View, most_nodes: int = MOST_NODES) -> dict[str, Any]:
        """What docs/reference/tree.md describes."""
        return self._tree.snapshot(view, most_nodes)

    async def tree(self, view: View, most_nodes: int = MOST_NODES) -> dict[str, Any]:
        return self.snapshot(view, most_nodes)

    async def cancel(self, id: str) -> CancelAnswer:
        return cancel(self._tree, id)

    def why_not_ready(self) -> str:
        return NOT_READY.get(self._standing.phase, "")


class Admin:
    """Of one server.

    Args:
        listens: nobody else does so for this process.

    Attributes:
        process: answers for this process.
        metrics: what this process has counted. The lag of its event loop has to be run as a task.
        recorders: for the server.
    """

    def __init__(self, config: Config, standing: Standing, *, listens: bool) -> None:
        self._config = config
        self._listens = listens and config.admin is not None
        history = History()
        self.process = OwnProcess(standing, history)
        self.metrics = ProcessMetrics(standing)
        self.recorders = (self.metrics.tally, history)
        self._ledger = Ledger()
        self._app = AdminApp(
            self.process, names=config.admin_host, beside={"/metrics": MetricsApp(self._measure)})

    def wrapped(self, app: App) -> App:
        """``app``, whose tasks can be told apart, and beside it the admin application if it has a path there."""
        if not tasks_are_in_nurseries():
            app = marking(app)
        return app if self._config.admin_path is None else mounted(self._config.admin_path, self._app, app)

    def announce(self, addresses: Sequence[str]) -> None:
        """Say where the page is on the main listeners, whose ``addresses`` are as people see them."""
        path = self._config.admin_path
        for address in addresses if path is not None else ():
            if address.startswith("unix:"):
                complain(log, "Admin page on %s under %s/ (token %s)", address, path, self._app.token,
                         level=logging.INFO)
            else:
                complain(log, "Admin page: %s%s/#token=%s", address, path, self._app.token, level=logging.INFO)

    async def _measure(self) -> Measured:
        pid = os.getpid()
        return Measured(self._ledger.settle({pid: self.metrics.snapshot()}), [pid])

    async def serve_beside(self, run: Callable[[], Awaitable[None]]) -> None:
        """Run the server, with the admin listener beside it if it is ours. May raise BindFailed."""
        if self._listens:
            await serve_beside(run, self._app, self._config)
        else:
            await run()
