"""``/metrics`` of several workers: each is asked what it has counted (see ``questions``)."""

import os
from typing import Any

import anyio

from trioserve._admin.metrics.page import Measured
from trioserve._admin.metrics.samples import Snapshot, from_json
from trioserve._admin.metrics.worker_tally import WorkerTally
from trioserve._supervisor.admin import Watched
from trioserve._supervisor.questions import Silence, ask_all
from trioserve._supervisor.workers import Worker

__all__ = ["WorkerMetrics"]


class WorkerMetrics:
    """Of one supervisor. One scrape at a time is answered, because the tally takes answers in their order."""

    def __init__(self, supervisor: Watched, worker_tally: WorkerTally) -> None:
        self._supervisor = supervisor
        self._worker_tally = worker_tally
        self._turn = anyio.Lock()

    async def measure(self) -> Measured:
        """The numbers of all workers together."""
        async with self._turn:
            answers = await ask_all(self._ready_workers(), "metrics", {})
            living = [worker.pid for worker in self._ready_workers()]  # the numbers of others are in the tally
            together = self._worker_tally.settle(
                {pid: _snapshot_in(answers[pid]) for pid in living if pid in answers})
        return Measured(together, [os.getpid(), *living])

    def _ready_workers(self) -> list[Worker]:
        return [worker for worker in self._supervisor.workers() if worker.is_ready]


def _snapshot_in(answer: Any) -> Snapshot | None:
    return None if isinstance(answer, Silence) else from_json(answer)
