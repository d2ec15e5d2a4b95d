"""The cork itself, without streams."""

import pytest

from trioserve._streams import cork as module
from trioserve._streams.cork import CORK_SECONDS, Cork


class Held:
    """Notes in ``log`` when it is told to send."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log

    def uncork(self) -> None:
        self.log.append(self.name)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]  # seconds
    monkeypatch.setattr(module, "perf_counter", lambda: now[0])
    return now


def test_it_takes_nothing_while_it_is_out() -> None:
    assert not Cork().takes(Held("a", []))


def test_what_it_took_is_sent_once_in_order(now: list[float]) -> None:
    cork, log = Cork(), list[str]()
    cork.push_in()
    assert all([cork.takes(Held(name, log)) for name in "abc"])
    assert log == []
    cork.pull_out()
    assert log == ["a", "b", "c"]
    cork.pull_out()
    assert log == ["a", "b", "c"]
    assert not cork.is_in


def test_a_release_sends_and_goes_on_holding(now: list[float]) -> None:
    cork, log = Cork(), list[str]()
    cork.push_in()
    cork.takes(Held("a", log))
    cork.release()
    assert log == ["a"]
    assert cork.takes(Held("b", log))
    assert log == ["a"]


def test_who_comes_late_releases_the_others_and_is_held(now: list[float]) -> None:
    cork, log = Cork(), list[str]()
    cork.push_in()
    cork.takes(Held("a", log))
    now[0] += CORK_SECONDS * 0.9
    cork.takes(Held("b", log))
    assert log == []
    now[0] += CORK_SECONDS * 0.2
    assert cork.takes(Held("c", log))
    assert log == ["a", "b"]
    now[0] += CORK_SECONDS * 0.9  # a moment of its own
    cork.takes(Held("d", log))
    assert log == ["a", "b"]
    cork.pull_out()
    assert log == ["a", "b", "c", "d"]
