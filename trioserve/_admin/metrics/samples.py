"""The numbers of one process, or of several together: lists, texts and numbers, which JSON can carry."""

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

__all__ = ["Sample", "Snapshot", "from_json", "summed", "to_json"]


class Sample(NamedTuple):
    """One series of a family.

    Attributes:
        labels: their values, in the order of the family's labels.
        numbers: one; of a histogram its sum, then how many are in each bucket and in no smaller one.
    """

    labels: tuple[str, ...]
    numbers: list[float]


Snapshot: TypeAlias = dict[str, list[Sample]]
"""Samples by the name of their family."""


def summed(snapshots: Iterable[Snapshot]) -> Snapshot:
    """All of them together: numbers with the same labels are added up. None of them changes."""
    sums: dict[str, dict[tuple[str, ...], list[float]]] = {}
    for snapshot in snapshots:
        for family, samples in snapshot.items():
            series = sums.setdefault(family, {})
            for labels, numbers in samples:
                before = series.get(labels)
                series[labels] = numbers if before is None else [a + b for a, b in zip(before, numbers, strict=True)]
    return {family: [Sample(*pair) for pair in series.items()] for family, series in sums.items()}


def to_json(snapshot: Snapshot) -> dict[str, Any]:
    """For another process."""
    return {family: [[list(labels), numbers] for labels, numbers in samples] for family, samples in snapshot.items()}


def from_json(data: dict[str, Any]) -> Snapshot:
    """What another process has sent."""
    return {
        family: [Sample(tuple(labels), numbers) for labels, numbers in samples] for family, samples in data.items()
    }
