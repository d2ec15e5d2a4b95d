"""How workers begin and end, and what they had counted."""

from trioserve._admin.metrics.samples import Sample, Snapshot
from trioserve._admin.metrics.worker_tally import WorkerTally

STARTS = "trioserve_worker_starts_total"
EXITS = "trioserve_worker_exits_total"
REQUESTS = "trioserve_requests_total"


def counted(requests: float) -> Snapshot:
    return {REQUESTS: [Sample(("GET", "2xx", "1.1"), [requests])]}


def test_every_outcome_is_there_from_the_beginning() -> None:
    together = WorkerTally().settle({})
    assert together[STARTS] == [Sample((), [0])]
    assert together[EXITS] == [Sample(("stopped",), [0]), Sample(("failed",), [0]), Sample(("killed",), [0])]


def test_ends_by_what_ended_them() -> None:
    tally = WorkerTally()
    for pid, exit_code in enumerate((0, 3, 1, -9, -11, -15)):
        tally.started()
        tally.exited(pid, exit_code, None)
    together = tally.settle({})
    assert together[STARTS] == [Sample((), [6])]
    assert together[EXITS] == [Sample(("stopped",), [1]), Sample(("failed",), [2]), Sample(("killed",), [3])]


def test_what_ended_workers_had_counted_stays() -> None:
    tally = WorkerTally()
    tally.settle({1: counted(10), 2: counted(20)})
    tally.exited(1, -9, None)
    tally.exited(2, 0, counted(25))
    assert tally.settle({3: counted(1)})[REQUESTS] == counted(36)[REQUESTS]
