"""What the tests of connections share."""

import pytest

from tests.helpers.work_clock import WorkClock


@pytest.fixture
def work_clock(monkeypatch: pytest.MonkeyPatch) -> WorkClock:
    """What leaves when, and who gives way, does not depend on how fast the machine is."""
    return WorkClock(monkeypatch)
