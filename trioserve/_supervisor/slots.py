"""A place for one worker, and who is in it: the first worker, its successors, and nobody once the server stops."""

import errno
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import anyio

from trioserve._server import SETTLE_SECONDS
from trioserve._supervisor.control import Drain
from trioserve._supervisor.workers import Worker

__all__ = ["Backoff", "ReloadingSlot", "Slot"]

HEALTHY_SECONDS: Final = 60.0  # a worker that lived this long did not die of its start
BACKOFF_SECONDS: Final = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # a single crash costs nobody a second
EXHAUSTED_SECONDS: Final = 1.0
EXHAUSTED: Final = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})  # others give it back
RELOAD_SECONDS: Final = 2.0  # for requests in progress: somebody waits to see a change, not for a stream to end
RELOAD_SETTLE_SECONDS: Final = 0.1  # for who has just connected to send a request; others wait in the kernel

log = logging.getLogger("trioserve")


class Backoff:
    """How long to wait before another try, more with each in a row that did not last."""

    def __init__(self) -> None:
        self._tries = 0

    def after(self, lived: float) -> float:
        """Seconds to wait after a worker that has ``lived`` so long."""
        if lived >= HEALTHY_SECONDS:
            self._tries = 0
        delay = BACKOFF_SECONDS[min(self._tries, len(BACKOFF_SECONDS) - 1)]
        self._tries += 1
        return delay


class _Stopped(Exception):
    """The slot is told to stop while nothing runs in it."""


class Slot:
    """One place for a worker. ``keep`` is its task; everything happens there, and the other methods only ask.

    A worker that is to be replaced serves until its successor is ready, and then drains; at most one more process runs
    than there are slots, because whoever replaces waits for its ``turn``.

    Attributes:
        worker: who serves, or served last.
        opened: set when the first worker is ready or has ended.
        given_up: the first worker could not start, and nobody will try again.
        no_process: why there is not even a process for it.
    """

    worker: Worker
    overtakes_first = False  # a wish for replacement ends the start of the first worker, too

    def __init__(self, new_worker: Callable[[Callable[[], None]], Worker], turn: anyio.Lock) -> None:
        """``new_worker`` starts a process; what it is given is called when that worker asks to be replaced."""
        self._new_worker = new_worker
        self._turn = turn
        self._backoff = Backoff()
        self._living: set[Worker] = set()
        self._news = anyio.Event()
        self._waiting = anyio.CancelScope()  # around a wait that news may end
        self._reason = ""  # why the worker is to be replaced, empty if it is not
        self._replaced = anyio.Event()
        self._stop_order: Drain | None = None
        self.opened = anyio.Event()
        self.given_up = False
        self.no_process: OSError | None = None

    # What others ask.

    def replace(self, reason: str) -> anyio.Event:
        """Have the worker replaced by one that is started from now on; the event is set when that has been tried.

        A wish that is overtaken by this one is fulfilled with it, and shares its event.
        """
        if not self._reason:
            self._reason = reason
            if self._replaced.is_set():
                self._replaced = anyio.Event()
            self._note()
        return self._replaced

    def stop(self, order: Drain) -> None:
        """Have every worker of the slot stop, and the slot end with the last of them."""
        self._stop_order = order
        for worker in self._living:
            worker.drain(order)
        self._note()

    def force(self) -> None:
        """Do not wait for requests any longer."""
        for worker in self._living:
            worker.force()

    @property
    def living(self) -> list[Worker]:
        """Its processes, those that start or drain, too."""
        return sorted(self._living, key=lambda worker: worker.pid)

    @property
    def has_ready_worker(self) -> bool:
        return any(worker.is_ready for worker in self._living)

    def _note(self) -> None:
        """There is something new for the slot's task."""
        self._news.set()
        self._waiting.cancel()

    # The slot's task.

    async def keep(self) -> None:
        """Keep a ready worker in the slot until it is stopped, or given up."""
        async with anyio.create_task_group() as self._lives:
            with suppress(_Stopped):
                await self._keep_filled()
        self._replaced.set()

    async def _keep_filled(self) -> None:
        try:
            self.worker = await self._start()
        except OSError as exc:
            self.no_process = exc
        self.given_up = self.no_process is not None or self._gives_up()
        self.opened.set()
        while self._stop_order is None and not self.given_up:
            if self.worker.has_ended:
                await self._fill_again()
            elif self._wanted:
                await self._hand_over()
            else:
                await self._wait_for_news()

    def _gives_up(self) -> bool:
        return not self.worker.is_ready

    @property
    def _wanted(self) -> str:
        """Why the worker is to be replaced."""
        return self._reason or self.worker.wants_replacement

    async def _wait_for_news(self) -> None:
        self._news = anyio.Event()
        await self._news.wait()

    async def _unless_news(self, wait: Callable[[], Awaitable[Any]]) -> bool:
        """Wait; false if something new comes first."""
        with anyio.CancelScope() as self._waiting:
            await wait()
            return True
        return False

    async def _start(self) -> Worker:
        """A new worker, ready or ended. One that is overtaken by a new wish for replacement has ended.

        Raises:
            _Stopped: there is no process yet, and there shall be none any more.
            OSError: the system does not start a first process, and will not if it is asked again.
        """
        worker = await self._start_process()
        self._living.add(worker)
        self._lives.start_soon(self._live, worker)
        while not worker.settled.is_set():
            await self._unless_news(worker.settled.wait)
            overtakes = self._reason and self._stop_order is None and (self.opened.is_set() or self.overtakes_first)
            if overtakes and not worker.settled.is_set():
                worker.kill()  # its code, or configuration, is not the newest any more
                await worker.ended.wait()
        return worker

    async def _start_process(self) -> Worker:
        while self._stop_order is None:
            try:
                return self._new_worker(self._note)
            except OSError as exc:
                if exc.errno not in EXHAUSTED and not self.opened.is_set():
                    raise
                log.error("No worker process can be started: %s; trying again in %g s", exc, EXHAUSTED_SECONDS)
            await self._unless_news(lambda: anyio.sleep(EXHAUSTED_SECONDS))
        raise _Stopped

    async def _live(self, worker: Worker) -> None:
        try:
            await worker.run()
        finally:
            self._living.discard(worker)
            if worker.is_ready:
                self._note()

    async def _fill_again(self) -> None:
        """The worker has crashed: try to start others until one is ready."""
        while self._stop_order is None:
            if delay := self._backoff.after(self.worker.lived):
                log.info("The next worker is started in %g seconds", delay)
                await self._unless_news(lambda: anyio.sleep(delay))
            if self._stop_order is not None:
                return
            self._take_request()
            self.worker = await self._start()
            self._answer_request()
            if self.worker.is_ready:
                log.info("Worker %d is ready", self.worker.pid)
                return
            self._report_failed_start(self.worker)

    async def _hand_over(self) -> None:
        """Start a successor, and let the worker drain when it is ready; if it cannot start, nothing changes."""
        if not await self._unless_news(self._turn.acquire):
            return
        if self._stop_order is not None or self.worker.has_ended:
            self._turn.release()
            return
        try:
            old, reason = self.worker, self._wanted
            self._take_request()
            successor = await self._start()
            if successor.is_ready:
                self.worker = successor
                log.info("Worker %d is ready and takes the place of worker %d (%s)", successor.pid, old.pid, reason)
                old.drain(Drain(reason, settle=SETTLE_SECONDS))
                await old.ended.wait()
        finally:
            self._turn.release()
        if not successor.is_ready:
            self._report_failed_start(successor, f"worker {old.pid} stays")
        self._answer_request()
        if not successor.is_ready and old.wants_replacement:
            delay = self._backoff.after(0.0)
            await self._unless_news(lambda: anyio.sleep(delay))

    def _take_request(self) -> None:
        """From now on, ``replace`` asks for the next replacement."""
        self._reason = ""

    def _answer_request(self) -> None:
        """The replacement has been tried, and nobody has asked for another one in the meantime."""
        if not self._reason:
            self._replaced.set()

    def _report_failed_start(self, worker: Worker, consequence: str = "") -> None:
        if self._stop_order is None and not self._reason:
            log.error("Worker %d could not start: %s%s", worker.pid, worker.why, consequence and f"; {consequence}")


class ReloadingSlot(Slot):
    """The slot of a server in development. The old worker goes first, so that no request meets old code.

    Connections wait in the meantime, in the kernel's queue. A worker that cannot start, because of a mistake in the
    code, is waited out: the next change brings the next try.
    """

    overtakes_first = True

    def _gives_up(self) -> bool:
        """Only if it is the command line that is wrong: no change of a file helps."""
        return self.worker.failure is not None and self.worker.failure.error == "ConfigError"

    async def _start(self) -> Worker:
        worker = await super()._start()
        if not worker.is_ready:
            self._report_failed_start(worker, "the next change is waited for")
        return worker

    async def _fill_again(self) -> None:
        if self._reason:
            await self._restart()
        elif self.worker.is_ready:  # it crashed
            await self._restart_later()
        else:
            await self._wait_for_news()

    async def _hand_over(self) -> None:
        self.worker.drain(Drain(self._wanted, settle=RELOAD_SETTLE_SECONDS, within=RELOAD_SECONDS))
        await self.worker.ended.wait()
        if self._stop_order is None:
            await self._restart()

    async def _restart(self) -> None:
        self._take_request()
        self.worker = await self._start()
        self._answer_request()

    async def _restart_later(self) -> None:
        delay = self._backoff.after(self.worker.lived)
        await self._unless_news(lambda: anyio.sleep(delay))
        if self._stop_order is None:
            await self._restart()
