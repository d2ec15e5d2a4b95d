"""How workers begin and end."""

from trioserve._admin.metrics.samples import Sample
from trioserve._admin.metrics.worker_tally import WorkerTally


def test_every_outcome_is_there_from_the_beginning() -> None:
    assert WorkerTally().samples() == {
        "trioserve_worker_starts_total": [Sample((), [0])],
        "trioserve_worker_exits_total": [Sample(("stopped",), [0]), Sample(("failed",), [0]), Sample(("killed",), [0])],
    }


def test_ends_by_what_ended_them() -> None:
    tally = WorkerTally()
    for exit_code in (0, 3, 1, -9, -11, -15):
        tally.started()
        tally.exited(exit_code)
    assert tally.samples() == {
        "trioserve_worker_starts_total": [Sample((), [6])],
        "trioserve_worker_exits_total": [Sample(("stopped",), [1]), Sample(("failed",), [2]), Sample(("killed",), [3])],
    }
