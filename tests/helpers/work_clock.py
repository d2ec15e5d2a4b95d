"""A clock for what the server measures while an application runs: in tests no time passes but what it computes for."""

import sys

import pytest

__all__ = ["WorkClock"]


class WorkClock:
    """Stands in for ``perf_counter``, by which a connection decides what leaves, and whose turn it is.

    Args:
        tick: seconds that pass with each look at it, for applications that go on without an end.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, tick: float = 0.0) -> None:
        self._now = 1000.0  # seconds
        self._tick = tick
        for name, module in sys.modules.items():
            if name.startswith("trioserve._connection.") and hasattr(module, "perf_counter"):
                monkeypatch.setattr(module, "perf_counter", self)

    def __call__(self) -> float:
        self._now += self._tick
        return self._now

    def compute(self, seconds: float) -> None:
        """Let time pass, as if the application did not wait."""
        self._now += seconds
