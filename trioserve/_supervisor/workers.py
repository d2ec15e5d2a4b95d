"""One worker: a process from its start to its end, watched from the supervisor's side."""

import logging
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import anyio

from trioserve._admin.metrics.samples import Snapshot, from_json
from trioserve._server.listeners import Bound
from trioserve._supervisor.control import (
    Drain,
    Failed,
    Force,
    LastHeartbeat,
    LastWords,
    Listens,
    Message,
    Question,
    Ready,
    Reply,
    WantsReplacement,
    WantsSockets,
)
from trioserve._supervisor.process import WorkerProcess
from trioserve._supervisor.questions import NO_ANSWERS, Answerer, Asking

__all__ = ["Patience", "Worker"]

MISSES: Final = 4  # silent quarters of the health check's time: a supervisor that was stopped itself misses only one
STARTING_SECONDS: Final = 2.0  # for a worker to give up its start: nothing is lost, and an import does not listen
FORCED_SECONDS: Final = 5.0  # for the end of the lifespan, once nobody waits for requests any longer
SPARE_SECONDS: Final = 5.0  # beyond its own budget, for a worker to exit; it ends in time if its loop turns at all

log = logging.getLogger("trioserve")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the supervisor waits for a worker.

    Attributes:
        healthcheck: seconds that its event loop may stand still, ``None`` for ever.
        shutdown: seconds that a graceful shutdown may take, ``math.inf`` for ever.
    """

    healthcheck: float | None
    shutdown: float


class Pulse:
    """Whether a worker's event loop still turns, by what is heard of it. ``seconds`` is how long it may stand still."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._heard = False
        self._is_over = False

    def beat(self) -> None:
        """Something was heard."""
        self._heard = True

    def end(self) -> None:
        """Nothing has to be heard any longer."""
        self._is_over = True

    async def wait_until_lost(self) -> None:
        """Return when nothing was heard for too long, from now on and until the end."""
        missed = 0
        while missed < MISSES:
            self._heard = False
            await anyio.sleep(self.seconds / MISSES)
            missed = 0 if self._heard or self._is_over else missed + 1


class Stop:
    """How the supervisor ends a worker process: it asks, and kills when that takes too long.

    Args:
        patience: seconds that a graceful shutdown may take.

    Attributes:
        is_wanted: the worker was told to stop, or is killed: its end is no surprise.
        is_heard: the application is imported, and the worker hears what it is told; stays true.
    """

    def __init__(self, process: WorkerProcess, patience: float) -> None:
        self._process = process
        self._patience = patience
        self._time = anyio.CancelScope()  # its deadline is when the process has to have ended
        self._is_forced = False
        self.is_wanted = self.is_heard = False

    def drain(self, order: Drain, *, is_ready: bool) -> None:
        """Have it stop gracefully; one that is not ready has nothing to finish."""
        self.is_wanted = True
        self._process.link.send(order)
        if is_ready:
            budget = self._patience if order.within is None else order.within
            self._end_within(budget + order.settle + SPARE_SECONDS)
        else:
            self._end_within(STARTING_SECONDS + (SPARE_SECONDS if self.is_heard else 0))

    def begin_to_hear(self) -> None:
        """It hears only now what it was told while it imported. It takes time to exit, and more if that was much."""
        self.is_heard = True
        if self.is_wanted:
            seconds = FORCED_SECONDS if self._is_forced else STARTING_SECONDS + SPARE_SECONDS
            self._time.deadline = anyio.current_time() + seconds

    def force(self) -> None:
        """Have it stop without waiting for requests; the second time, kill it."""
        if self._is_forced:
            self._process.kill()
        self._is_forced = self.is_wanted = True
        self._process.link.send(Force())
        self._end_within(FORCED_SECONDS)

    def kill(self) -> None:
        self.is_wanted = True
        self._process.kill()

    async def kill_showing_stacks(self) -> None:
        """It does not do as it is told: end it, leaving its threads' stacks behind."""
        self.is_wanted = True
        await self._process.kill_showing_stacks()

    async def wait_until_overdue(self) -> None:
        """Return when it should have ended."""
        with self._time:
            await anyio.sleep_forever()

    def _end_within(self, seconds: float) -> None:
        self._time.deadline = min(self._time.deadline, anyio.current_time() + seconds)


class Worker:
    """A worker process. ``run`` is its life; the rest is what it has become, and what can be asked of it.

    Attributes:
        is_ready: the application has started; stays true.
        asking: questions to it, and from it.
        failure: what the worker said of its end, if it did.
        last_words: what it had counted at its end, if it could say so.
        wants_replacement: why it asks to be replaced, empty if it does not.
        settled: set once it is ready or has ended.
        ended: set when it has ended.
        lived: seconds, once it has ended.
        exit_code: of the process, once it has ended; negative for a signal.
    """

    def __init__(
        self, process: WorkerProcess, bounds: Sequence[Bound], patience: Patience, on_wish: Callable[[], None],
        answerers: Mapping[str, Answerer] = NO_ANSWERS,
    ) -> None:  # fmt: skip
        """It listens on ``bounds``. ``on_wish`` is called when it asks to be replaced, ``answerers`` when it asks."""
        self._process = process
        self._bounds = bounds
        self._on_wish = on_wish
        self._stop = Stop(process, patience.shutdown)
        self._pulse = Pulse(patience.healthcheck) if patience.healthcheck is not None else None
        self._began = anyio.current_time()
        self.asking = Asking(process.link, answerers)
        self.exit_code = 0
        self.is_ready = False
        self.failure: Failed | None = None
        self.last_words: Snapshot | None = None
        self.wants_replacement = ""
        self.settled = anyio.Event()
        self.ended = anyio.Event()
        self.lived = 0.0

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """The process is gone."""
        return self.ended.is_set()

    @property
    def why(self) -> str:
        """Why it ended, for the log."""
        return self.failure.text if self.failure is not None else describe_exit(self.exit_code)

    # What others ask.

    def drain(self, order: Drain) -> None:
        """Have it stop gracefully, or kill it when that takes too long."""
        self._stop.drain(order, is_ready=self.is_ready)

    def force(self) -> None:
        """Have it stop without waiting for requests; the second time, kill it."""
        self._stop.force()

    def kill(self) -> None:
        self._stop.kill()

    # Its life.

    async def run(self) -> None:
        """From the start to the end of the process. If cancelled, the process is killed; it never outlives this."""
        try:
            async with anyio.create_task_group() as watches:
                watches.start_soon(self._listen)
                watches.start_soon(self._watch_time)
                if self._pulse is not None:
                    watches.start_soon(self._watch_pulse, self._pulse)
                self.exit_code = await self._process.wait()
                watches.cancel_scope.cancel()
        finally:
            self._take(self._process.link.receive_waiting())
            self.lived = anyio.current_time() - self._began
            self._log_end()
            self._process.close()
            self.asking.give_up()
            self.settled.set()
            self.ended.set()

    async def _listen(self) -> None:
        async with anyio.create_task_group() as answering:
            while messages := await self._process.link.receive():
                self._take(messages)
                for message in messages:
                    if isinstance(message, Question):
                        answering.start_soon(self.asking.answer, message)

    def _take(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if self._pulse is not None:
                self._pulse.beat()
            match message:
                case Listens():
                    self._stop.begin_to_hear()
                case WantsSockets():
                    self._process.link.send_sockets(self._bounds)
                case Ready():
                    self.is_ready = True
                    self.settled.set()
                case WantsReplacement(reason):
                    self.wants_replacement = reason
                    self._on_wish()
                case LastHeartbeat() if self._pulse is not None:
                    self._pulse.end()
                case Failed():
                    self.failure = message
                case LastWords(metrics):
                    self.last_words = from_json(metrics)
                case Reply():
                    self.asking.hear(message)

    async def _watch_pulse(self, pulse: Pulse) -> None:
        """Until it is ready it may take its time."""
        await self.settled.wait()
        await pulse.wait_until_lost()
        log.error("Worker %d is killed: its event loop has stood still for %g seconds", self.pid, pulse.seconds)
        await self._stop.kill_showing_stacks()

    async def _watch_time(self) -> None:
        await self._stop.wait_until_overdue()
        if not self._stop.is_heard:  # as a signal ends a single process that imports: nothing is wrong
            log.info("Worker %d is ended while it imports the application", self.pid)
            self._stop.kill()
            return
        log.error("Worker %d is killed: it did not stop in time", self.pid)
        await self._stop.kill_showing_stacks()

    def _log_end(self) -> None:
        stacks = self._process.read_stacks()
        if stacks:
            log.error("Worker %d stood here when it ended:\n%s", self.pid, stacks.rstrip("\n"))
        if self.is_ready and not self._stop.is_wanted:
            log.error("Worker %d ended unexpectedly (%s)", self.pid, self.why)
        else:
            log.debug("Worker %d has ended (%s)", self.pid, describe_exit(self.exit_code))


def describe_exit(code: int) -> str:
    """``exit code 3``, or ``SIGSEGV``."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:  # a real-time signal
        return f"signal {-code}"
