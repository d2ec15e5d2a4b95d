"""What only the supervisor knows: how many workers have begun and ended, and what those that ended had counted."""

from collections.abc import Mapping

from trioserve._admin.metrics.ledger import Ledger
from trioserve._admin.metrics.samples import Sample, Snapshot, summed

__all__ = ["WorkerTally"]

STOPPED, FAILED, KILLED = "stopped", "failed", "killed"


class WorkerTally:
    """Of one supervisor."""

    def __init__(self) -> None:
        self._starts = 0
        self._exits = {STOPPED: 0, FAILED: 0, KILLED: 0}
        self._ledger = Ledger()

    def started(self) -> None:
        """A worker is ready."""
        self._starts += 1

    def exited(self, pid: int, exit_code: int, last_words: Snapshot | None) -> None:
        """A worker has ended, with an exit code, or with minus the signal that ended it."""
        self._exits[STOPPED if not exit_code else FAILED if exit_code > 0 else KILLED] += 1
        self._ledger.end(pid, last_words)

    def settle(self, answers: Mapping[int, Snapshot | None]) -> Snapshot:
        """The numbers of all workers together, as in ``Ledger``, and our own."""
        return summed([self._ledger.settle(answers), {
            "trioserve_worker_starts_total": [Sample((), [self._starts])],
            "trioserve_worker_exits_total": [Sample((outcome,), [count]) for outcome, count in self._exits.items()],
        }])  # fmt: skip
