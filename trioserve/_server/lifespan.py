"""The application's lifespan: one task that is the parent in spirit of every request (ASGI lifespan 2.0)."""

import contextvars
import logging
from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import Any, Literal

import anyio
import anyio.abc

from trioserve._asgi import ASGI_VERSION, type_of
from trioserve._complaints import complain
from trioserve._config import Config
from trioserve._connection import Mark, await_point, orders_and_errors
from trioserve._errors import AppError, LifespanDied, StartupFailed, TrioserveError
from trioserve._hints import backend_hint, backend_hint_in_words
from trioserve._server.application.opened_app import OpenedApp
from trioserve._streams import LIFESPAN
from trioserve._types import App, Message, Scope

__all__ = ["Lifespan"]

log = logging.getLogger("trioserve")

_NO_REASON = "it does not say why"


class Lifespan:
    """Runs the application's lifespan scope.

    Args:
        extensions: what the server offers in the lifespan's scope.
        set_mark: called in the application's context, so that its tasks can be told from others.
        on_death: called with a reason when the application's lifespan has died while the server was running.

    Attributes:
        state: what the application put in ``scope["state"]``, ``None`` when it has no lifespan.
        context: the lifespan's contextvars as of ``startup.complete``; requests run in copies of it.
        failure: why the server must not start, or must stop.
        shutdown_failed: the application said so, or raised; it has been logged.
    """

    def __init__(
        self, app: App | OpenedApp, config: Config, backend: str, extensions: dict[str, Any],
        on_death: Callable[[str], None], set_mark: Callable[[Mark], object] | None = None,
    ) -> None:  # fmt: skip
        self._app = app
        self._config = config
        self._backend = backend
        self._on_death = on_death
        self.set_mark = set_mark
        self._scope: Scope = {
            "type": "lifespan",
            "asgi": {"version": ASGI_VERSION, "spec_version": "2.0"},
            "state": {},
            "extensions": extensions,
        }
        self._received: Literal["", "startup", "shutdown"] = ""  # the last event that the application has
        self._started = anyio.Event()
        self._shutdown_requested = anyio.Event()
        self._shutdown_finished = anyio.Event()
        self.state: dict[str, Any] | None = None
        self.context = contextvars.copy_context()
        self.failure: TrioserveError | None = None
        self.shutdown_failed = False
        self._advised = False

    @property
    def app(self) -> App:
        """Who gets the requests, once this has started."""
        return self._app.app if isinstance(self._app, OpenedApp) else self._app

    @property
    def _mode(self) -> Literal["auto", "on", "off"]:
        return "on" if isinstance(self._app, OpenedApp) else self._config.lifespan

    @property
    def has_started(self) -> bool:
        """The application has started, or has no lifespan: whoever stops the server now lets it shut down."""
        return self._started.is_set() and self.failure is None

    @property
    def phase(self) -> str:
        """``STARTING``, ``RUNNING``, ``STOPPING`` or ``ENDED``; empty when the application has no lifespan."""
        if self._mode == "off" or (self._started.is_set() and self.state is None):
            return ""
        if not self._started.is_set():
            return "STARTING"
        if self._shutdown_finished.is_set():
            return "ENDED"
        return "STOPPING" if self._shutdown_requested.is_set() else "RUNNING"

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """The lifespan's task. "Started" means that start-up has ended, one way or the other: see ``failure``."""
        async with anyio.create_task_group() as running:
            if self._mode != "off":
                app = self._run_app()
                running.start_soon(lambda: app, name=LIFESPAN)
                await self._wait_for_start(app)
            task_status.started()

    async def _wait_for_start(self, app: Coroutine[Any, Any, None]) -> None:
        seconds = self._config.timeout_startup
        with anyio.move_on_after(seconds):
            await self._started.wait()
        if not self._started.is_set():
            self.failure = StartupFailed(
                f"the application's lifespan did not start within {seconds:g} s (--timeout-startup), "
                f"waiting at {await_point(app)}")

    async def shutdown(self) -> None:
        """Let the application close its resources; returns when it has, or at once if it has no lifespan."""
        if self.state is None or self._shutdown_finished.is_set():
            return
        self._shutdown_requested.set()
        await self._shutdown_finished.wait()

    async def _run_app(self) -> None:
        if self.set_mark is not None:
            self.set_mark((perf_counter(), None))
        try:
            await self._app(self._scope, self._receive, self._send)
        except BaseException as exc:
            order, error = orders_and_errors(exc, cancelled=_is_cancelled())
            if error is not None:
                self._on_error(error)
            if order is not None:
                raise order from None
        else:
            if not self._started.is_set() and self.failure is None:
                self._on_early_return()
        finally:
            self._started.set()
            self._shutdown_finished.set()

    def _on_early_return(self) -> None:
        """Who has not asked for an event has no lifespan; who has seen the start forgot to answer."""
        if self._mode == "on":
            self.failure = StartupFailed("the application's lifespan returned without startup.complete")
        elif self._received and not _is_cancelled():
            complain(log, "The application's lifespan returned without startup.complete: it has no state, and is not "
                     "told of the shutdown", level=logging.WARNING)  # fmt: skip

    def _on_error(self, exc: BaseException) -> None:
        if self.failure is not None or self.shutdown_failed:
            pass  # the application has said that it failed, and then it raised as well: one report is enough
        elif self._received == "shutdown":
            complain(log, "The application's lifespan failed during shutdown", exc_info=exc)
            self.shutdown_failed = True
        elif self._started.is_set():
            complain(log, "The application's lifespan died; the server stops", exc_info=exc, level=logging.CRITICAL)
            self.failure = LifespanDied("the application's lifespan died while the server was running")
            self._on_death("lifespan-died")
        elif isinstance(exc, TrioserveError):
            self.failure = exc  # it says all itself
        elif self._mode == "on" or not self._says_no_lifespan(exc):
            complain(log, "The application's lifespan failed during startup", exc_info=exc)
            self.failure = StartupFailed("the application's lifespan raised during startup")
        else:
            words = str(exc) if isinstance(exc, _TakenForRequest) else type(exc).__name__
            complain(log, "The application has no lifespan (%s)", words, level=logging.INFO)
        self._advise(backend_hint(exc, self._backend))

    def _says_no_lifespan(self, exc: BaseException) -> bool:
        """It never asked for an event, or it took the start-up for a request."""
        return isinstance(exc, _TakenForRequest) or (isinstance(exc, Exception) and not self._received)

    def _advise(self, hint: str | None) -> None:
        """Once: frameworks send what failed as a text, and then raise it as well."""
        if hint is not None and not self._advised:
            self._advised = True
            complain(log, hint)

    async def _receive(self) -> Message:
        if not self._received:
            self._received = "startup"
            return {"type": "lifespan.startup"}
        if self._received == "shutdown":
            await anyio.sleep_forever()  # an application that loops over its events must not clean up twice
        await self._shutdown_requested.wait()
        self._received = "shutdown"
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        kind = type_of(message)
        starting = not self._started.is_set() and self.failure is None
        if kind == "lifespan.startup.complete" and starting:
            self.state = self._scope["state"]
            self.context = contextvars.copy_context()
            self._started.set()
        elif kind == "lifespan.startup.failed" and starting and _is_cancelled():
            pass  # the server was told to stop, which is no failure of the application's
        elif kind == "lifespan.startup.failed" and starting:
            text = str(message.get("message", ""))
            self.failure = StartupFailed(f"the application failed to start: {_in_one_line(text)}")
            self._advise(backend_hint_in_words(text, self._backend))
            self._started.set()  # it may go on, even wait for a shutdown, and is then cancelled
        elif kind == "lifespan.shutdown.complete" and self._received == "shutdown":
            self._shutdown_finished.set()
        elif kind == "lifespan.shutdown.failed" and self._received == "shutdown":
            text = str(message.get("message", ""))
            complain(log, "The application failed to shut down: %s", text or _NO_REASON)
            self._advise(backend_hint_in_words(text, self._backend))
            self.shutdown_failed = True
            self._shutdown_finished.set()
        else:
            error = AppError if not starting or str(kind).startswith("lifespan.") else _TakenForRequest
            raise error(f"{kind!r} sent where {self._expected(starting=starting)}")

    def _expected(self, *, starting: bool) -> str:
        if starting:
            return "lifespan.startup.complete or lifespan.startup.failed is expected"
        if self._received == "shutdown":
            return "lifespan.shutdown.complete or lifespan.shutdown.failed is expected"
        return "nothing is expected until lifespan.shutdown has been received"


class _TakenForRequest(AppError):
    """During start-up the application sent a message that belongs to no lifespan: it does not look at its scope."""


def _is_cancelled() -> bool:
    """The task that asks is being cancelled."""
    return anyio.current_effective_deadline() == float("-inf")


def _in_one_line(text: str) -> str:
    """What the application says of its failure. Starlette says a whole traceback: that is logged, its end returned."""
    lines = [words for line in text.splitlines() if (words := line.strip(" |+-"))]  # what frames exceptions in groups
    if len(lines) > 1:
        complain(log, "The application's lifespan failed during startup\n%s", text.rstrip())
    return lines[-1] if lines else _NO_REASON
