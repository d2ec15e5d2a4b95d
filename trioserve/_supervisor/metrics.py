"""``/metrics`` of several workers: each is asked what it has counted (see ``questions``)."""

import os
from typing import Any

import anyio

from trioserve._admin.metrics.ledger import Ledger
from trioserve._admin.metrics.page import Measured
from trioserve._admin.metrics.samples import Snapshot, from_json, summed
from trioserve._admin.metrics.worker_tally import WorkerTally
from trioserve._supervisor.admin import Watched
from trioserve._supervisor.questions import Silence, ask_all

__all__ = ["WorkerMetrics"]


class WorkerMetrics:
    """Of one supervisor. One scrape at a time is answered, because the ledger takes answers in their order."""

    def __init__(self, supervisor: Watched, worker_tally: WorkerTally) -> None:
        self._supervisor = supervisor
        self._worker_tally = worker_tally
        self._ledger = Ledger()
        self._turn = anyio.Lock()

    async def measure(self) -> Measured:
        """The numbers of all workers together."""
        async with self._turn:
            ready = [worker for worker in self._supervisor.workers() if worker.is_ready]
            answers = await ask_all(ready, "metrics", {})
            together = self._ledger.settle({pid: _snapshot_in(answer) for pid, answer in answers.items()})
        return Measured(summed([together, self._worker_tally.samples()]), [os.getpid(), *answers])


def _snapshot_in(answer: Any) -> Snapshot | None:
    return None if isinstance(answer, Silence) else from_json(answer)
