"""The numbers of all processes as one, without a step back when a process ends.

Prometheus takes a counter that falls for one that has begun anew, and adds all of it to its rate. So what a process has
counted stays in the sum after its end: what it said at last, or when it was last asked.
"""

from collections.abc import Mapping
from typing import Final

from trioserve._admin.metrics.families import FAMILIES
from trioserve._admin.metrics.samples import Sample, Snapshot, summed

__all__ = ["Ledger"]

KEPT: Final = frozenset(
    family.name for family in FAMILIES.values()
    if family.kind in ("counter", "histogram") and not family.per_process
)  # fmt: skip


class Ledger:
    """One for a server with several processes, which are known by their pids."""

    def __init__(self) -> None:
        self._last: dict[int, Snapshot] = {}  # answers of processes whose end nobody has told yet
        self._ended: Snapshot = {}

    def settle(self, answers: Mapping[int, Snapshot | None]) -> Snapshot:
        """All numbers together. ``answers`` has every process that lives; ``None`` for one that did not answer."""
        answered = {pid: answer for pid, answer in answers.items() if answer is not None}
        self._last |= answered
        others = [_kept(last) for pid, last in self._last.items() if pid not in answered]
        states = [Sample(("answers",), [len(answered)]), Sample(("silent",), [len(answers) - len(answered)])]
        return summed([self._ended, *others, *answered.values(), {"trioserve_workers": states}])

    def end(self, pid: int, last_words: Snapshot | None) -> None:
        """A process has ended, and has said before what it had counted in all, if it could."""
        last = self._last.pop(pid, {})
        self._ended = summed([self._ended, _kept(last if last_words is None else last_words)])


def _kept(snapshot: Snapshot) -> Snapshot:
    """What stays true after the end of a process: it cannot have counted less."""
    return {family: samples for family, samples in snapshot.items() if family in KEPT}
