"""Worker classes for gunicorn: ``gunicorn -k trioserve.gunicorn.TrioWorker main:app``.

gunicorn's arbiter keeps the processes and the sockets; each process serves as trioserve does. For an option that
gunicorn does not have, make a class of your own::

    class Worker(TrioWorker):
        OPTIONS = {"limit_concurrency": 100, "on_disconnect": "cancel"}
"""

import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar, Final

import anyio
import anyio.abc
from gunicorn.workers.base import Worker  # type: ignore[import-untyped]  # it has no types

from trioserve._config import Config
from trioserve._errors import StartupFailed, TrioserveError
from trioserve._server import Server
from trioserve._supervisor.attended import attended
from trioserve._supervisor.run import backend_options
from trioserve._supervisor.signals import SETTLE_SECONDS, deaf_to, obey_signals

__all__ = ["AsyncioWorker", "TrioWorker"]

SIGN_OF_LIFE_SECONDS: Final = 1.0  # as gunicorn's own workers; its timeout is 30 by default
SHARE_OF_GRACE: Final = 0.9  # of gunicorn's graceful_timeout, at whose end it kills
FAILED_TO_BOOT: Final = 3  # gunicorn stops when a worker ends with it; with any other code it starts another one

_NAMES: Final = {"keepalive": "timeout_keep_alive", "limit_request_line": "limit_request_line",
                 "limit_request_fields": "limit_header_count"}
"""Settings of gunicorn that are options here. Those that nobody has set do not count: our defaults have reasons."""


class TrioWorker(Worker):  # type: ignore[misc]  # it has no types
    """Runs the application on trio."""

    BACKEND: ClassVar[Any] = "trio"
    OPTIONS: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Fields of ``Config``."""

    def init_signals(self) -> None:
        """gunicorn's handlers, until the event loop has its own."""
        super().init_signals()
        signal.set_wakeup_fd(-1)  # the event loop wants it

    def run(self) -> None:
        """Serve until the arbiter says stop, ends, or enough requests have been served."""
        if self.cfg.is_ssl:
            self.log.error("trioserve's worker classes serve no TLS: leave it to the proxy in front of gunicorn")
            sys.exit(FAILED_TO_BOOT)
        self._lend_loggers()
        try:
            config = self._config()
            anyio.run(self._serve, config, backend=config.backend, backend_options=backend_options(config))
        except TrioserveError as exc:
            self.log.error("%s", exc)
            sys.exit(FAILED_TO_BOOT if isinstance(exc, StartupFailed) else 1)
        finally:
            for listener in self.sockets:  # those that were not taken, because a stop came first
                listener.sock.close()

    async def _serve(self, config: Config) -> None:
        server = Server(
            self.wsgi, config, get_sockets=self._take_sockets, announce=False,
            on_requests_spent=lambda: server.request_shutdown("max_requests", settle=SETTLE_SECONDS),
        )
        deaf_to([signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])  # what they have to find when the loop has ended
        others = {
            signal.SIGINT: partial(self._quit, server),
            signal.SIGQUIT: partial(self._quit, server),
            signal.SIGUSR1: self.log.reopen_files,
        }
        await attended(
            server.serve, partial(obey_signals, server, (signal.SIGTERM,), others), partial(self._attend, server))

    async def _take_sockets(self) -> list[socket.socket]:
        """This process's copies of the arbiter's sockets; the server closes what it gets."""
        return [socket.socket(fileno=listener.sock.detach()) for listener in self.sockets]

    async def _attend(self, server: Server, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Show the arbiter that the event loop turns, and see whether it still wants this worker."""
        task_status.started()
        while True:
            self.notify()
            if not self.alive:  # told before the event loop heard signals, or by gunicorn's reloader
                server.request_shutdown("gunicorn", settle=SETTLE_SECONDS)
            if self.ppid != os.getppid():
                server.request_shutdown("the arbiter has gone", settle=SETTLE_SECONDS)
            await anyio.sleep(SIGN_OF_LIFE_SECONDS)

    def _quit(self, server: Server) -> None:
        """gunicorn's quick shutdown."""
        self.cfg.worker_int(self)
        server.force_shutdown()

    # What gunicorn has configured.

    def _config(self) -> Config:
        options = {
            _NAMES[name]: setting.value
            for name, setting in self.cfg.settings.items()
            if name in _NAMES and setting.value != setting.default and setting.value
        }
        return Config.from_options({
            **options,
            "backend": self.BACKEND,
            "backlog": self.cfg.backlog,
            "timeout_graceful_shutdown": SHARE_OF_GRACE * self.cfg.graceful_timeout,
            "limit_max_requests": self.max_requests if self.cfg.max_requests else None,
            "access_log": self.log.access_log_enabled,
            **self.OPTIONS,
        })

    def _lend_loggers(self) -> None:
        """What trioserve logs goes where gunicorn's own lines go."""
        for name, lender in (("trioserve", self.log.error_log), ("trioserve.access", self.log.access_log)):
            logger = logging.getLogger(name)
            logger.handlers[:] = lender.handlers
            logger.setLevel(lender.level)
            logger.propagate = False


class AsyncioWorker(TrioWorker):
    """Runs the application on asyncio; on uvloop when that is installed."""

    BACKEND = "asyncio"
