"""Functions of the user's that are told what happens to the server and its workers.

They run in the process that keeps the server: the supervisor, or the one process that there is. A lifespan runs in each
worker; it cannot see that all of them are ready, or that one was killed.
"""

import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import Any, Final

import anyio
import anyio.abc
import anyio.from_thread
import anyio.lowlevel
import outcome

from trioserve._config import Config
from trioserve._supervisor.app_loader import load_function

__all__ = ["Hooks"]

LAST_SECONDS: Final = 5.0  # for the calls that are left when the server has stopped

ARGUMENTS: Final = {"when_ready": (), "worker_started": ("pid",), "worker_exited": ("pid", "exit_code")}
"""Each hook, named like its option, with what it is called with."""

log = logging.getLogger("trioserve")


class Hooks:
    """Calls the hooks one after the other, in the order of what has happened; ``run`` is the task that does.

    A hook is a plain function, which runs in a thread, or an async one. What it raises is logged.
    """

    def __init__(self, config: Config) -> None:
        """Import them.

        Raises:
            ConfigError: there is no such function, or it takes other arguments.
            AppLoadFailed: its module raised.
        """
        self._hooks = {
            name: load_function(name, target, app_dir=config.app_dir, arguments=arguments)
            for name, arguments in ARGUMENTS.items() if (target := getattr(config, name)) is not None
        }
        self._waiting: deque[Callable[[], Awaitable[None]]] = deque()
        self._news = anyio.Event()
        self._done = anyio.Event()
        self._is_last = False
        self._time = anyio.CancelScope()

    # What has happened. Returns at once.

    def when_ready(self) -> None:
        """The first request can come; every worker is ready."""
        self._add("when_ready")

    def worker_started(self, pid: int) -> None:
        """A worker is ready."""
        self._add("worker_started", pid)

    def worker_exited(self, pid: int, exit_code: int) -> None:
        """A worker's process has ended; a negative ``exit_code`` is the signal that ended it."""
        self._add("worker_exited", pid, exit_code)

    def _add(self, name: str, *arguments: object) -> None:
        if name in self._hooks:
            self._waiting.append(partial(self._call, name, *arguments))
            self._news.set()

    # The calls.

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Call what is to be called, until ``finish``."""
        task_status.started()
        with self._time:
            while self._waiting or not self._is_last:
                if self._waiting:
                    await self._waiting.popleft()()
                else:
                    self._news = anyio.Event()
                    await self._news.wait()
        if self._time.cancelled_caught:
            log.error("A hook did not end within %g seconds, the server ends without it", LAST_SECONDS)
        self._done.set()

    async def finish(self) -> None:
        """Nothing happens any more: wait for the calls that are left, for a while."""
        self._is_last = True
        self._time.deadline = anyio.current_time() + LAST_SECONDS
        self._news.set()
        await self._done.wait()

    async def _call(self, name: str, *arguments: object) -> None:
        hook = self._hooks[name]
        try:
            if inspect.iscoroutinefunction(hook):
                await hook(*arguments)
            else:
                await _in_thread(partial(hook, *arguments))
        except Exception as exc:  # the user's code: it may raise anything
            log.error("The hook %s%r raised", name, arguments, exc_info=exc)


async def _in_thread(call: Callable[[], Any]) -> None:
    """Call it in a thread, for which the end of the process does not wait; if cancelled, it goes on."""
    token, ended = anyio.lowlevel.current_token(), anyio.Event()
    results: list[outcome.Maybe[Any]] = []

    def work() -> None:
        results.append(outcome.capture(call))
        with suppress(anyio.RunFinishedError):
            anyio.from_thread.run_sync(ended.set, token=token)

    Thread(target=work, name="trioserve hook", daemon=True).start()
    await ended.wait()
    results[0].unwrap()
