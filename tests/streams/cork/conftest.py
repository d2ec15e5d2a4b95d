"""Every stream here has a cork, and time passes for it only when a test says so."""

import pytest

from tests.helpers.corks import CORKED_KINDS, Clock
from tests.helpers.stream_pairs import Kind, skip_if_missing


@pytest.fixture(params=CORKED_KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    skip_if_missing(kind)
    return kind


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("trioserve._streams.cork.perf_counter", clock)
    return clock


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed stream waits long enough for the slowest machine's peer."""
    set_patience(monkeypatch, 60.0)


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    set_patience(monkeypatch, 0.02)


def set_patience(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr("trioserve._streams.cork.CLOSE_SECONDS", seconds)
