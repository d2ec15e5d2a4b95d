"""What the machine is told of this server, if it asks: by a pid file, through systemd, by hooks and by metrics."""

from collections.abc import Callable
from time import perf_counter

import anyio
import anyio.abc

from trioserve._admin.metrics.samples import Snapshot
from trioserve._admin.metrics.worker_tally import WorkerTally
from trioserve._config import Config
from trioserve._server import Server
from trioserve._supervisor.hooks import Hooks
from trioserve._supervisor.pid_file import PidFile
from trioserve._supervisor.systemd import Notifier

__all__ = ["ReportingServer", "Service"]


class Service:
    """This process, as the machine sees it; each call tells whoever asks.

    Attributes:
        began: a moment of ``perf_counter``.
        hooks: functions of the user's. Their ``run`` has to be a task.
        worker_tally: workers that began and ended, for metrics.
    """

    def __init__(self, config: Config) -> None:
        """Raises ConfigError if the pid file cannot be written; and as ``Hooks`` does."""
        self.began = perf_counter()
        self.hooks = Hooks(config)
        self.worker_tally = WorkerTally()
        self._pid_file = PidFile(config.pid_file) if config.pid_file is not None else None
        self._notifier = Notifier.from_environment()

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._pid_file is not None:
            self._pid_file.remove()

    def ready(self) -> None:
        if self._pid_file is not None:
            self._pid_file.write()
        if self._notifier is not None:
            self._notifier.ready()
        self.hooks.when_ready()

    def worker_started(self, pid: int) -> None:
        """It is ready."""
        self.worker_tally.started()
        self.hooks.worker_started(pid)

    def worker_exited(self, pid: int, exit_code: int, last_words: Snapshot | None) -> None:
        """``last_words``: what it had counted, if it could say so."""
        self.worker_tally.exited(pid, exit_code, last_words)
        self.hooks.worker_exited(pid, exit_code)

    def begin_reload(self) -> None:
        if self._notifier is not None:
            self._notifier.begin_reload()

    def end_reload(self) -> None:
        if self._notifier is not None:
            self._notifier.end_reload()

    def stopping(self) -> None:
        if self._notifier is not None:
            self._notifier.stopping()

    async def keep_watchdog(
        self, is_alive: Callable[[], bool] = lambda: True, *,
        task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """See ``Notifier.keep_watchdog``. Without ``is_alive`` the sign of life is that this runs at all."""
        task_status.started()
        if self._notifier is not None:
            await self._notifier.keep_watchdog(is_alive)


class ReportingServer:
    """A server in this very process: passes on what it is asked, and tells what it does."""

    def __init__(self, server: Server, service: Service) -> None:
        self._server = server
        self._service = service

    async def serve(self) -> None:
        await self._server.serve(task_status=self)
        await self._service.hooks.finish()

    def started(self, value: object = None) -> None:
        """The server says that it is ready: this is its ``task_status``."""
        self._service.ready()

    def request_shutdown(self, reason: str, *, settle: float = 0.0) -> None:
        self._service.stopping()
        self._server.request_shutdown(reason, settle=settle)

    def force_shutdown(self) -> None:
        self._server.force_shutdown()
