"""``--teach``: a timeline of each request in the log, for whoever learns how structured concurrency works."""

import logging
import sys
from contextvars import Context, ContextVar
from functools import partial

import anyio
import anyio.abc

from trioserve._colors import wants_colors
from trioserve._config import Config
from trioserve._connection import Answered, ClosedWebSocket, RecordedRequest, Refused
from trioserve._server.trace.calls import listened_to
from trioserve._server.trace.messages import name_of_request
from trioserve._server.trace.shown import shown_client, shown_request
from trioserve._server.trace.timeline import Timeline, fitting
from trioserve._server.trace.transcript import Transcript
from trioserve._streams import SeenTask, TaskWatch, watch_tasks
from trioserve._types import App, Receive, Scope, Send

__all__ = ["Teacher"]

log = logging.getLogger("trioserve.teach")

_timeline: ContextVar[Timeline] = ContextVar("trioserve.timeline")  # of a request, in its own context variables


class Teacher:
    """Of one server: calls the application, hears of its tasks, and is a recorder."""

    needs_context = True

    def __init__(self, app: App, config: Config) -> None:
        self._app = app
        self._transcript = Transcript(log, logging.INFO)
        self._is_json = config.log_format == "json"
        self._colors = not self._is_json and wants_colors(config.use_colors, sys.stderr)
        self._watch: TaskWatch | None = None
        self._timelines: dict[SeenTask, Timeline] = {}

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """A task: look at all tasks until cancelled."""
        log.warning("--teach: each request is watched step by step, which is slow; for development only")
        with watch_tasks(self) as self._watch:
            task_status.started()
            await anyio.sleep_forever()

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application, with a timeline for each request."""
        assert self._watch is not None, "it runs"
        heading = fitting(f"{shown_request(scope)} from {shown_client(scope)}")
        write = partial(self._write, heading, name_of_request(scope) if self._is_json else None)
        timeline = Timeline(self._watch, write, colors=self._colors)
        _timeline.set(timeline)
        task = self._watch.current()
        self._timelines[task] = timeline
        try:
            await self._watch.watched(listened_to(timeline, self._app, scope, receive, send))
        finally:
            del self._timelines[task]

    def _write(self, heading: str, name: str | None, line: str) -> None:
        self._transcript.write(heading, line, 0, name)

    # What is heard of tasks.

    def cares_for(self, context: Context) -> bool:
        return _timeline in context

    def on_spawn(self, task: SeenTask, context: Context) -> None:
        self._timelines[task] = timeline = context[_timeline]
        timeline.on_spawn(task)

    def on_step(self, task: SeenTask) -> None:
        if (timeline := self._timelines.get(task)) is not None:
            timeline.on_step(task)

    def on_exit(self, task: SeenTask, error: BaseException | None, *, cancelled: bool) -> None:
        if (timeline := self._timelines.pop(task, None)) is not None:
            timeline.on_exit(task, error, cancelled=cancelled)

    # What a recorder hears.

    def ended_early(self, request: RecordedRequest, reason: str, seconds: float) -> None:
        if (timeline := _timeline.get(None)) is not None:
            timeline.cancelled_by_server(reason)

    def answered(self, answered: Answered, seconds: float) -> None:
        """The messages have shown it."""

    def websocket_closed(self, websocket: ClosedWebSocket, seconds: float) -> None:
        """Likewise."""

    def refused(self, refused: Refused) -> None:
        """There was no request to show."""
