"""How many worker processes have begun and ended: what only the supervisor sees."""

from trioserve._admin.metrics.samples import Sample, Snapshot

__all__ = ["WorkerTally"]

STOPPED, FAILED, KILLED = "stopped", "failed", "killed"


class WorkerTally:
    """Of one supervisor."""

    def __init__(self) -> None:
        self._starts = 0
        self._exits = {STOPPED: 0, FAILED: 0, KILLED: 0}

    def started(self) -> None:
        """A worker is ready."""
        self._starts += 1

    def exited(self, exit_code: int) -> None:
        """A worker has ended, with an exit code, or with minus the signal that ended it."""
        self._exits[STOPPED if not exit_code else FAILED if exit_code > 0 else KILLED] += 1

    def samples(self) -> Snapshot:
        return {
            "trioserve_worker_starts_total": [Sample((), [self._starts])],
            "trioserve_worker_exits_total": [Sample((outcome,), [count]) for outcome, count in self._exits.items()],
        }
