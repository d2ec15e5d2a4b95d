"""How late the event loop is: a task that sleeps again and again, and looks when it is called."""

from bisect import bisect_left
from collections.abc import Callable
from typing import Final

import anyio

from trioserve._admin.metrics.families import LAG_BUCKETS
from trioserve._admin.metrics.samples import Sample, Snapshot

__all__ = ["LoopLag"]

SAMPLE_SECONDS: Final = 0.1  # what stands still for longer is seen for certain; costs 0.3 ms of CPU in a second


class LoopLag:
    """``run`` is a task for the server's nursery."""

    def __init__(self) -> None:
        self._buckets = [0] * (len(LAG_BUCKETS) + 1)
        self._seconds = 0.0

    async def run(self, on_sample: Callable[[float], None] = lambda seconds: None) -> None:
        """Sample until cancelled. ``on_sample`` hears of each, with the seconds that have gone by."""
        began = anyio.current_time()
        while True:
            due = began + SAMPLE_SECONDS
            await anyio.sleep_until(due)
            now = anyio.current_time()
            self._note(max(0.0, now - due))
            on_sample(now - began)
            began = now

    def _note(self, late_seconds: float) -> None:
        self._buckets[bisect_left(LAG_BUCKETS, late_seconds)] += 1
        self._seconds += late_seconds

    def samples(self) -> Snapshot:
        return {"trioserve_event_loop_lag_seconds": [Sample((), [self._seconds, *self._buckets])]}
