"""How late the event loop is, on the virtual clock."""

import anyio
import pytest

from trioserve._admin.metrics.families import LAG_BUCKETS
from trioserve._admin.metrics.loop_lag import LoopLag
from trioserve._admin.metrics.samples import Sample


def sample_of(lag: LoopLag) -> Sample:
    [sample] = lag.samples()["trioserve_event_loop_lag_seconds"]
    return sample


async def run_for(lag: LoopLag, seconds: float) -> None:
    with anyio.move_on_after(seconds):
        await lag.run()


async def test_a_loop_that_is_in_time() -> None:
    lag = LoopLag()
    await run_for(lag, 1.05)
    total, *counts = sample_of(lag).numbers
    assert sum(counts) == counts[0] == 10
    assert total < 0.001


@pytest.mark.parametrize(("late", "bucket"), [(0.0005, 0), (0.03, 4), (0.7, 8), (60.0, len(LAG_BUCKETS))])
async def test_how_late_it_was_is_seen(late: float, bucket: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lag = LoopLag()
    now = anyio.current_time

    async def sleep_until(deadline: float) -> None:
        await anyio.sleep(deadline + late - now())

    monkeypatch.setattr("trioserve._admin.metrics.loop_lag.anyio.sleep_until", sleep_until)
    await run_for(lag, 1.5 * (0.1 + late))
    total, *counts = sample_of(lag).numbers
    assert counts[bucket] == sum(counts) == 1
    assert total == pytest.approx(late, abs=1e-6)
