"""How long the supervisor waits before it tries again."""

import pytest

from trioserve._supervisor.slots import Backoff


def test_each_try_that_does_not_last_makes_the_next_one_wait_longer() -> None:
    backoff = Backoff()
    assert [backoff.after(1.0) for _ in range(9)] == [0, 1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.parametrize(("lived", "delay"), [(59.9, 2.0), (60.0, 0.0)])
def test_a_worker_that_lived_for_a_minute_did_not_die_of_its_start(lived: float, delay: float) -> None:
    backoff = Backoff()
    for _ in range(2):
        backoff.after(0.0)
    assert backoff.after(lived) == delay
