"""What the tests of connections share."""

from typing import Any

import pytest

from tests.helpers.work_clock import WorkClock


@pytest.fixture
def work_clock(monkeypatch: pytest.MonkeyPatch) -> WorkClock:
    """What leaves when, and who gives way, does not depend on how fast the machine is."""
    return WorkClock(monkeypatch)


@pytest.fixture(params=["ngh2", "h2"])
def http2_options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A server that speaks HTTP/2, with either engine."""
    return {"http2": True, "http2_engine": request.param}
