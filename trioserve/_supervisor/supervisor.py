"""Several worker processes, or one that is reloaded: the nursery that keeps them, and the sockets that they share."""

import logging
import signal
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING

import anyio
import anyio.abc
import anyio.lowlevel

from trioserve import _errors
from trioserve._config import Config
from trioserve._errors import ConfigError, StartupFailed, TrioserveError
from trioserve._server import SETTLE_SECONDS
from trioserve._supervisor import orphans
from trioserve._supervisor.control import Drain
from trioserve._supervisor.process import WorkerProcess
from trioserve._supervisor.questions import NO_ANSWERS
from trioserve._supervisor.reload import FileFilter, watch_files
from trioserve._supervisor.service import Service
from trioserve._supervisor.shared_sockets import SharedSockets
from trioserve._supervisor.slots import ReloadingSlot, Slot
from trioserve._supervisor.tree_log import log_tree_of
from trioserve._supervisor.workers import Patience, Worker

if TYPE_CHECKING:
    from trioserve._supervisor.overview import Overview

__all__ = ["Supervisor"]

log = logging.getLogger("trioserve")


class Supervisor:
    """Serves ``target`` by worker processes, for one run.

    Attributes:
        overview: of all workers, if somebody may look.
    """

    _tasks: anyio.abc.TaskGroup  # for what ends when the server begins to stop
    _keeping: anyio.abc.TaskGroup  # for the slots, which end when their workers have

    def __init__(self, target: str, config: Config, service: Service) -> None:
        """Raises ConfigError when a directory to watch does not exist."""
        self._target = target
        self._config = config
        self._service = service
        self.overview = self._make_overview() if config.admin is not None or config.admin_path is not None else None
        self._files: FileFilter | None = None
        if config.reload:
            self._files = FileFilter(config.reload_dir, config.reload_include, config.reload_exclude)
        self._sockets = SharedSockets(config)
        self._slots: list[Slot] = []
        self._leaving: list[Slot] = []
        self._turn = anyio.Lock()
        self._announcer: Worker | None = None  # the first worker that listens says where
        self._serving = anyio.CancelScope()
        self._stop_order: Drain | None = None
        self._failure: TrioserveError | None = None

    def _make_overview(self) -> "Overview":
        from trioserve._supervisor.overview import Overview  # somebody looks; nobody else pays for it

        return Overview(self, self._service.worker_tally)

    # What signals and the file watcher ask.

    @property
    def signals(self) -> Mapping[signal.Signals, Callable[[], None]]:
        """Signals besides those that stop a server, and what they call."""
        calls = {signal.SIGTTIN: self.add_worker, signal.SIGTTOU: self.remove_worker}
        if not self._config.reload:
            calls[signal.SIGHUP] = lambda: self.replace_workers("SIGHUP")
        elif signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # under nohup it is
            calls[signal.SIGHUP] = lambda: self.request_shutdown("SIGHUP")  # the developer's terminal was closed
        return calls

    def request_shutdown(self, reason: str, *, settle: float = 0.0) -> None:
        """Stop gracefully; later calls change nothing."""
        if self._stop_order is not None:
            return
        log.info("Shutting down (%s)", reason)
        self._service.stopping()
        self._stop_order = Drain(reason, settle=settle)
        self._sockets.stop()
        for slot in self._slots:
            slot.stop(self._stop_order)
        self._serving.cancel()

    def force_shutdown(self) -> None:
        """Do not wait for requests any longer; called again, kill the workers that are left."""
        self.request_shutdown("forced")
        self._sockets.give_up()
        for slot in (*self._slots, *self._leaving):
            slot.force()

    def replace_workers(self, reason: str) -> None:
        """Replace the workers one by one; those that are still to be started are new anyway."""
        if self._slots:
            log.info("Replacing the workers (%s)", reason)
            self._service.begin_reload()
            self._tasks.start_soon(self._end_reload, reason, [slot.replace(reason) for slot in self._slots])

    async def _end_reload(self, reason: str, replaced: list[anyio.Event]) -> None:
        for event in replaced:
            await event.wait()
        log.info("Every worker has had its turn (%s)", reason)
        self._service.end_reload()

    def add_worker(self) -> None:
        if self._config.reload or not self._slots:
            log.warning("No worker is added: %s", "--reload runs one" if self._slots else "the server is starting")
        else:
            self._tasks.start_soon(self._add_worker)

    async def _add_worker(self) -> None:
        slot = await self._open_slot()
        if slot.given_up:
            self._slots.remove(slot)
            log.error("The worker that was added could not start: %s", _error_of(slot))
        else:
            log.info("Worker %d is ready, the number of workers is %d", slot.worker.pid, len(self._slots))

    def remove_worker(self) -> None:
        if len(self._slots) < 2:
            log.warning("No worker is removed: the last one stays")
            return
        slot = self._slots.pop()
        self._leaving.append(slot)
        slot.stop(Drain("SIGTTOU", settle=SETTLE_SECONDS))
        log.info("A worker leaves, the number of workers is %d", len(self._slots))

    def log_tree(self) -> None:
        """Write the trees of all workers to the log."""
        if self._slots:
            self._keeping.start_soon(self._log_tree)
        else:
            log.warning("There is no tree to show: the server is starting")

    async def _log_tree(self) -> None:
        from trioserve._admin.view import EVERYTHING  # somebody asks; nobody else pays for it
        from trioserve._supervisor.admin import AllWorkers

        log_tree_of(await AllWorkers(self).tree(EVERYTHING))

    # What its admin listener asks.

    @property
    def phase(self) -> str:
        """``STARTING``, ``READY`` or ``DRAINING``."""
        if self._stop_order is not None:
            return "DRAINING"
        return "READY" if self._is_alive() else "STARTING"

    @property
    def age(self) -> float:
        """Seconds."""
        return perf_counter() - self._service.began

    def workers(self) -> list[Worker]:
        """Every worker process that lives."""
        return [worker for slot in (*self._slots, *self._leaving) for worker in slot.living]

    # The tree of tasks.

    async def run(self) -> None:
        """Serve until shutdown.

        Raises:
            TrioserveError: the address cannot be bound, or the application did not start.
        """
        try:
            await self._sockets.bind()
            async with anyio.create_task_group() as services:
                services.start_soon(self._sockets.give_up_in_time)
                if orphans.is_process_1():
                    services.start_soon(orphans.reap_orphans, self._is_worker)
                async with anyio.create_task_group() as self._keeping:
                    with self._serving:
                        async with anyio.create_task_group() as self._tasks:
                            await self._serve()
                services.cancel_scope.cancel()
        finally:
            self._sockets.give_up()
        await self._service.hooks.finish()
        if self._failure is not None:
            raise self._failure
        log.info("Stopped")

    async def _serve(self) -> None:
        if self._files is not None:
            self._tasks.start_soon(watch_files, self._files, self._config.reload_delay, self.replace_workers)
        await self._start_workers()
        await self._service.keep_watchdog(self._is_alive)
        await anyio.sleep_forever()

    async def _start_workers(self) -> None:
        """One worker tries out the application; when it is ready the others start together."""
        await self._open_first_slot()
        async with anyio.create_task_group() as starting:  # none starts if the first has stopped the server
            for _ in range(self._config.workers - 1):
                starting.start_soon(self._open_first_slot)
        if self._config.workers > 1:
            pids = ", ".join(str(slot.worker.pid) for slot in self._slots)
            log.info("%d workers are ready (%s)", len(self._slots), pids)
        self._service.ready()

    async def _open_first_slot(self) -> None:
        slot = await self._open_slot()
        if slot.given_up and self._stop_order is None:
            self._failure = _error_of(slot)
            self.request_shutdown("a worker could not start")

    async def _open_slot(self) -> Slot:
        """A slot whose first worker is ready, or that has been given up. None is opened once the server stops."""
        await anyio.lowlevel.checkpoint()
        slot_type = ReloadingSlot if self._config.reload else Slot
        slot = slot_type(self._new_worker, self._turn)
        self._slots.append(slot)
        self._keeping.start_soon(slot.keep)
        await slot.opened.wait()
        return slot

    def _new_worker(self, on_wish: Callable[[], None]) -> Worker:
        announcer = self._announcer
        announces = announcer is None or (announcer.has_ended and not announcer.is_ready)
        overview, config = self.overview, self._config
        process = WorkerProcess(
            self._target, config, interactive=config.reload, announce=announces,
            admin_token=overview.token if overview is not None else "")
        worker = Worker(
            process, self._sockets.bounds, _patience_of(config), on_wish,
            overview.answerers() if overview is not None else NO_ANSWERS)
        if announces:
            self._announcer = worker
        self._keeping.start_soon(self._report, worker)
        return worker

    async def _report(self, worker: Worker) -> None:
        await worker.settled.wait()
        if worker.is_ready:
            self._service.worker_started(worker.pid)
        await worker.ended.wait()
        self._service.worker_exited(worker.pid, worker.exit_code, worker.last_words)

    def _is_worker(self, pid: int) -> bool:
        return any(worker.pid == pid for worker in self.workers())

    def _is_alive(self) -> bool:
        return any(slot.has_ready_worker for slot in self._slots)


def _patience_of(config: Config) -> Patience:
    """A debugger stops the event loop, too."""
    return Patience(
        healthcheck=None if config.reload else config.timeout_worker_healthcheck, shutdown=config.longest_shutdown)


def _error_of(slot: Slot) -> TrioserveError:
    """The error that the first worker of a ``slot`` met, or one that says how it ended."""
    if slot.no_process is not None:
        return StartupFailed(f"no worker process can be started: {slot.no_process}")
    failure = slot.worker.failure
    if failure is None:
        return StartupFailed(f"the worker process ended before it was ready ({slot.worker.why})")
    if failure.error == "ConfigError":
        return ConfigError(failure.option, failure.text)
    error: TrioserveError = getattr(_errors, failure.error)(failure.text)
    for note in failure.notes:
        error.add_note(note)
    return error
