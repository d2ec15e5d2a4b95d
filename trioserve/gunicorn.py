"""Worker classes for gunicorn: ``gunicorn -k trioserve.gunicorn.TrioWorker main:app``.

gunicorn's arbiter keeps the processes and the sockets; each process serves as trioserve does. An option that gunicorn
does not have is given by its environment variable, ``TRIOSERVE_LIMIT_CONCURRENCY=100``, or by a class of your own::

    class Worker(TrioWorker):
        OPTIONS = {"limit_concurrency": 100, "on_disconnect": "cancel"}
"""

import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar, Final

import anyio
import anyio.abc
from gunicorn.sock import ssl_context  # type: ignore[import-untyped]  # it has no types
from gunicorn.workers.base import Worker  # type: ignore[import-untyped]

from trioserve._config import OPTIONS, Config
from trioserve._config.ineffective import variables_without_effect
from trioserve._config.sources import PREFIX, Given, read_environment
from trioserve._errors import ConfigError, StartupFailed, TrioserveError
from trioserve._server import SETTLE_SECONDS, Server
from trioserve._server.engine import protocols
from trioserve._supervisor.attended import attended
from trioserve._supervisor.event_loop import backend_options
from trioserve._supervisor.signals import deaf_to, obey_signals

__all__ = ["AsyncioWorker", "TrioWorker"]

SIGN_OF_LIFE_SECONDS: Final = 1.0  # as gunicorn's own workers; its timeout is 30 by default
SHARE_OF_GRACE: Final = 0.9  # of gunicorn's graceful_timeout, at whose end it kills
FAILED_TO_BOOT: Final = 3  # gunicorn stops when a worker ends with it; with any other code it starts another one

_NAMES: Final = {
    "keepalive": "timeout_keep_alive", "limit_request_line": "limit_request_line",
    "limit_request_fields": "limit_header_count", "forwarded_allow_ips": "forwarded_allow_ips",
    "access_log_format": "access_log_format", "root_path": "root_path", "asgi_lifespan": "lifespan",
    "websocket_max_message_size": "ws_max_size", "http2_max_concurrent_streams": "limit_http2_streams",
}  # fmt: skip
"""Settings of gunicorn that are options here. Those that nobody has set do not count: our defaults have reasons."""

_NO_LIMIT: Final = {
    "limit_request_line": 2**31 - 1, "limit_request_fields": 32768, "websocket_max_message_size": 2**31 - 1,
}  # fmt: skip
"""What comes nearest to 0, which is no limit for gunicorn."""

_TLS_NAMES: Final = {
    "certfile": "ssl_certfile", "keyfile": "ssl_keyfile", "ca_certs": "ssl_ca_certs", "cert_reqs": "ssl_cert_reqs",
    "ciphers": "ssl_ciphers",
}  # fmt: skip
"""The same for TLS, unless gunicorn's hook ``ssl_context`` makes the context."""

_OF_THE_ARBITER: Final = {"Binding", "Processes", "Development", "Admin"}
"""Groups of options about what gunicorn does itself, or what would need an arbiter of ours: one address for all."""


class TrioWorker(Worker):  # type: ignore[misc]  # it has no types
    """Runs the application on trio."""

    BACKEND: ClassVar[Any] = "trio"
    NAMES: ClassVar[Mapping[str, str]] = _NAMES
    """gunicorn's settings, and the options here that they stand for."""
    OPTIONS: Mapping[str, Any] = MappingProxyType({})
    """Fields of ``Config``; they count more than gunicorn's settings, and these more than the environment. A worker may
    set its own in ``init_process``."""

    def init_signals(self) -> None:
        """gunicorn's handlers, until the event loop has its own."""
        super().init_signals()
        signal.set_wakeup_fd(-1)  # the event loop wants it

    def run(self) -> None:
        """Serve until the arbiter says stop, ends, or enough requests have been served."""
        self._lend_loggers()
        self._warn_of_variables()
        given = self._given()
        try:
            config = Config.from_options({name: known.value for name, known in given.items()})
            anyio.run(self._serve, config, backend=config.backend, backend_options=backend_options(config))
        except ConfigError as exc:  # another worker would find the same
            self.log.error("%s: %s", given[exc.option].origin if exc.option in given else exc.option, exc.problem)
            sys.exit(FAILED_TO_BOOT)
        except TrioserveError as exc:
            self.log.error("%s", exc)
            sys.exit(FAILED_TO_BOOT if isinstance(exc, StartupFailed) else 1)
        finally:
            for listener in self.sockets:  # those that were not taken, because a stop came first
                listener.sock.close()

    async def _serve(self, config: Config) -> None:
        server = Server(
            self.wsgi, config, ssl_context=self._hooked_context(config), get_sockets=self._take_sockets, announce=False,
            on_spent=lambda reason: server.request_shutdown(reason, settle=SETTLE_SECONDS),
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

    def _given(self) -> dict[str, Given]:
        """Every option that somebody has given a value, and who."""
        grace = SHARE_OF_GRACE * self.cfg.graceful_timeout
        requests = self.max_requests if self.cfg.max_requests else None
        return {
            **_environment(),
            **self._settings(self.NAMES if self._has_ssl_hook else {**self.NAMES, **_TLS_NAMES}),
            "backend": Given(self.BACKEND, f"{type(self).__name__}.BACKEND"),
            "backlog": Given(self.cfg.backlog, "gunicorn's backlog"),
            "timeout_graceful_shutdown": Given(grace, "gunicorn's graceful_timeout"),
            "limit_max_requests": Given(requests, "gunicorn's max_requests"),
            "access_log": Given(self.log.access_log_enabled, "gunicorn's accesslog"),
            **{name: Given(value, f"{type(self).__name__}.OPTIONS: {name}") for name, value in self.OPTIONS.items()},
        }

    def _settings(self, names: Mapping[str, str]) -> dict[str, Given]:
        """Those of gunicorn's settings that somebody has set."""
        given: dict[str, Given] = {}
        for name, option in names.items():
            setting = self.cfg.settings.get(name)
            if setting is None:
                continue  # an older gunicorn
            value = ",".join(setting.value) if isinstance(setting.value, list) else setting.value
            if value not in (None, "", setting.default):
                given[option] = Given(value or _NO_LIMIT.get(name, value), f"gunicorn's {name}")
        if not self.cfg.sendfile:  # an option, or the variable SENDFILE
            given["sendfile"] = Given(False, "gunicorn's sendfile")
        return given

    @property
    def _has_ssl_hook(self) -> bool:
        hook = self.cfg.settings["ssl_context"]
        return bool(self.cfg.is_ssl) and hook.value is not hook.default

    def _hooked_context(self, config: Config) -> ssl.SSLContext | None:
        """What gunicorn's hook ``ssl_context`` makes; it may ask gunicorn for a context to begin with."""
        if not self._has_ssl_hook:
            return None
        try:
            context: ssl.SSLContext = ssl_context(self.cfg)
        except OSError as exc:  # an SSLError is one
            raise ConfigError("ssl_context", f"gunicorn's hook raised {exc!r}") from exc
        if isinstance(context, ssl.SSLContext):  # the server complains of anything else
            context.set_alpn_protocols(protocols(config))  # gunicorn's own are for what gunicorn can serve
        return context

    def _warn_of_variables(self) -> None:
        """Of those that are nearly ours. What other servers' variables mean is no matter here: some are gunicorn's."""
        ours = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
        for line in variables_without_effect(ours):
            self.log.warning("%s", line)

    def _lend_loggers(self) -> None:
        """What trioserve logs goes where gunicorn's own lines go."""
        for name, lender in (("trioserve", self.log.error_log), ("trioserve.access", self.log.access_log)):
            logger = logging.getLogger(name)
            logger.handlers[:] = lender.handlers
            logger.setLevel(lender.level)
            logger.propagate = False


def _environment() -> dict[str, Given]:
    """What ``TRIOSERVE_...`` variables say; there may be some for what the arbiter does, when others run trioserve."""
    given = read_environment()
    return {name: known for name, known in given.items() if OPTIONS[name].group not in _OF_THE_ARBITER}


class AsyncioWorker(TrioWorker):
    """Runs the application on asyncio; on uvloop when that is installed."""

    BACKEND = "asyncio"
    NAMES: ClassVar[Mapping[str, str]] = {**_NAMES, "asgi_loop": "loop"}
