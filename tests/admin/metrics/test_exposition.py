"""The text of /metrics, read back by prometheus_client's own parsers."""

import os
from collections.abc import Iterable

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from trioserve._admin.metrics.exposition import exposed
from trioserve._admin.metrics.families import DURATION_BUCKETS, FAMILIES, Family
from trioserve._admin.metrics.samples import Sample, Snapshot

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
TEXT = "text/plain;version=0.0.4"
UNUSUAL = 'a "quoted" \\ back\nslash é'


def sample_of(family: Family, labels: tuple[str, ...]) -> Sample:
    """One of a family, with numbers that differ from bucket to bucket."""
    numbers = [12.5, *range(len(family.buckets) + 1)] if family.kind == "histogram" else [3]
    return Sample(labels, [float(number) for number in numbers])


FULL: Snapshot = {
    family.name: [sample_of(family, tuple(f"a {label}" for label in family.labels))] for family in FAMILIES.values()
}


def samples(metrics: Iterable[Metric]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for metric in metrics for sample in metric.samples
    }  # fmt: skip


def read(content_type: str, text: bytes) -> list[Metric]:
    is_openmetrics = content_type.startswith("application/openmetrics-text")
    return list((read_openmetrics if is_openmetrics else read_text)(text.decode()))


@pytest.mark.parametrize(("accept", "expected"), [
    ("", "text/plain; version=0.0.4"), ("*/*", "text/plain; version=0.0.4"), (TEXT, "text/plain; version=0.0.4"),
    (OPENMETRICS, "application/openmetrics-text; version=1.0.0"), ("text/html" + ",x" * 10_000, "text/plain"),
])  # fmt: skip
def test_the_format_is_what_is_accepted(accept: str, expected: str) -> None:
    content_type, text = exposed(FULL, [], accept)
    assert content_type.startswith(expected)
    assert "charset=utf-8" in content_type
    assert read(content_type, text)


@pytest.mark.parametrize("accept", [TEXT, OPENMETRICS])
def test_every_family_comes_with_its_type_help_and_labels(accept: str) -> None:
    metrics = {metric.name: metric for metric in read(*exposed(FULL, [], accept))}
    for family in FAMILIES.values():
        metric = metrics.get(family.name) or metrics[family.name.removesuffix("_total").removesuffix("_info")]
        assert metric.documentation == family.help
        assert metric.type == family.kind or (metric.type == "gauge" and family.kind == "info")
        assert {name for sample in metric.samples for name in sample.labels} - {"le"} == set(family.labels)
    assert len(metrics) == len(FAMILIES)


@pytest.mark.parametrize("accept", [TEXT, OPENMETRICS])
def test_a_histogram_is_cumulative(accept: str) -> None:
    labels = {"method": "GET", "status": "2xx"}
    snapshot: Snapshot = {"trioserve_request_duration_seconds": [Sample(("GET", "2xx"), [7.5, *[1] * 14])]}
    found = samples(read(*exposed(snapshot, [], accept)))
    name = "trioserve_request_duration_seconds"
    bounds = [*map(str, DURATION_BUCKETS), "+Inf"]
    assert [found[f"{name}_bucket", tuple(sorted((labels | {"le": bound}).items()))] for bound in bounds] == [
        float(count) for count in range(1, 15)]
    assert found[f"{name}_count", tuple(labels.items())] == 14
    assert found[f"{name}_sum", tuple(labels.items())] == 7.5


@pytest.mark.parametrize("accept", [TEXT, OPENMETRICS])
def test_labels_may_have_anything_in_them(accept: str) -> None:
    found = samples(read(*exposed({"trioserve_connections": [Sample((UNUSUAL,), [1])]}, [], accept)))
    assert found == {("trioserve_connections", (("state", UNUSUAL),)): 1}


def test_nothing_is_said_of_what_is_not_known() -> None:
    assert exposed({}, [], TEXT)[1] == b""
    assert exposed({}, [], OPENMETRICS)[1] == b"# EOF\n"


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="only /proc tells of other processes")
def test_what_the_system_says_of_each_process() -> None:
    found = samples(read(*exposed({}, [os.getpid(), os.getppid()], TEXT)))
    for name in (name for name in FAMILIES if name.startswith("process_")):
        pids = {dict(labels)["pid"] for sample, labels in found if sample == name}
        assert str(os.getpid()) in pids, name
    assert found["process_resident_memory_bytes", (("pid", str(os.getpid())),)] > 1_000_000


def test_a_process_that_has_just_ended_is_left_out() -> None:
    assert exposed({}, [2**22 + 1], TEXT)[1] == b""
