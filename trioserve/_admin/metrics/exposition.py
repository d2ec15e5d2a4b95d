"""A snapshot as text: the text format of Prometheus, or OpenMetrics where the client accepts it."""

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from trioserve._admin.metrics.families import FAMILIES, Family
from trioserve._admin.metrics.samples import Sample, Snapshot, summed

__all__ = ["SnapshotCollector", "exposed"]

MOST_BYTES_OF_ACCEPT: Final = 1024  # Prometheus sends 200


def exposed(snapshot: Snapshot, pids: Iterable[int], accept: str) -> tuple[str, bytes]:
    """The content type and the text of ``snapshot``, with what the system says of the processes ``pids``."""
    encode, content_type = choose_encoder(accept[:MOST_BYTES_OF_ACCEPT])
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(summed([snapshot, *map(_process_samples, pids)])))
    return content_type, encode(registry)


class SnapshotCollector(Collector):
    """The families of a snapshot, as ``prometheus_client`` has them."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        for name, family in FAMILIES.items():
            if name in self._snapshot:
                yield _metric(family, self._snapshot[name])


def _metric(family: Family, samples: Iterable[Sample]) -> Metric:
    metric: Any
    if family.kind == "histogram":
        metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
        for labels, (total, *counts) in samples:
            metric.add_metric(labels, _cumulative(family.buckets, counts), total)
    elif family.kind == "info":
        metric = InfoMetricFamily(family.name.removesuffix("_info"), family.help)
        for labels, _ in samples:
            metric.add_metric((), dict(zip(family.labels, labels, strict=True)))
    else:
        kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
        metric = kind(family.name, family.help, labels=family.labels)
        for labels, (value,) in samples:
            metric.add_metric(labels, value)
    return metric  # type: ignore[no-any-return]  # the library's classes have no types for their arguments


def _cumulative(bounds: Iterable[float], counts: Iterable[float]) -> list[tuple[str, float]]:
    return list(zip((*map(str, bounds), "+Inf"), accumulate(counts), strict=True))


def _process_samples(pid: int) -> Snapshot:
    """What the system knows of a process: nothing where there is no /proc, or when it has just ended."""
    collector = ProcessCollector(pid=lambda: pid, registry=None)
    return {
        sample.name: [Sample((str(pid),), [sample.value])]
        for metric in collector.collect() for sample in metric.samples if sample.name in FAMILIES
    }  # fmt: skip
