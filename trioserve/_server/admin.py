"""What a server has with ``--admin`` or ``--admin-path``: a history of what has ended, and answers about its tree."""

import os
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio

from trioserve._admin.app import AdminApp
from trioserve._admin.cancelling import CancelAnswer, cancel
from trioserve._admin.history import History
from trioserve._admin.marks import marking
from trioserve._admin.metrics.ledger import Ledger
from trioserve._admin.metrics.page import Measured, MetricsApp
from trioserve._admin.metrics.process import ProcessMetrics
from trioserve._admin.tree import Tree
from trioserve._admin.view import View
from trioserve._config import Config
from trioserve._server.admin_listener import serve_admin
from trioserve._server.mounting import mounted
from trioserve._server.standing import Standing
from trioserve._types import App

__all__ = ["NOT_READY", "Admin", "OwnProcess"]

NOT_READY: Final = {"STARTING": "starting", "DELAY": "shutdown-delay", "DRAINING": "draining", "STOPPING": "draining"}


class OwnProcess:
    """The server of this process, as a ``Source``.

    Attributes:
        metrics: what it has counted.
    """

    def __init__(self, standing: Standing, history: History) -> None:
        self._standing = standing
        self._tree = Tree(standing, history)
        self._ledger = Ledger()
        self.metrics = ProcessMetrics(standing)

    async def tree(self, view: View) -> dict[str, Any]:
        return self._tree.snapshot(view)

    async def cancel(self, id: str) -> CancelAnswer:
        return cancel(self._tree, id)

    async def measure(self) -> Measured:
        """For ``/metrics``."""
        pid = os.getpid()
        return Measured(self._ledger.settle({pid: self.metrics.snapshot()}), [pid])

    def why_not_ready(self) -> str:
        return NOT_READY.get(self._standing.phase, "")


class Admin:
    """Of one server.

    Args:
        listens: nobody else does so for this process.

    Attributes:
        process: answers for this process.
        recorders: for the server.
    """

    def __init__(self, config: Config, standing: Standing, *, listens: bool) -> None:
        self._config = config
        self._listens = listens and config.admin is not None
        history = History()
        self.process = process = OwnProcess(standing, history)
        self.recorders = (process.metrics.tally, history)
        self._app = AdminApp(
            process, names=config.admin_host, beside={"/metrics": MetricsApp(process.measure)})

    def wrapped(self, app: App) -> App:
        """``app``, whose tasks can be told apart, and beside it the admin application if it has a path there."""
        app = marking(app)
        return app if self._config.admin_path is None else mounted(self._config.admin_path, self._app, app)

    async def serve_beside(self, run: Callable[[], Awaitable[None]]) -> None:
        """Run the server, and answer on the admin listener from before its start to after its end."""
        stopped = anyio.Event()
        async with anyio.create_task_group() as beside:
            if self._listens:
                await beside.start(serve_admin, self._app, self._config, stopped)
            try:
                async with anyio.create_task_group() as measuring:
                    measuring.start_soon(self.process.metrics.lag.run)
                    await run()
                    measuring.cancel_scope.cancel()
            finally:
                stopped.set()
