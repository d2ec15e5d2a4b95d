"""``/metrics`` of a running server, as numbers."""

import re
import urllib.request
from collections import Counter
from dataclasses import dataclass
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from tests.helpers.server_process import ServerProcess

__all__ = ["Metrics", "admin_url", "metrics_of"]

_ADMIN_LINE: Final = re.compile(r"Admin listener on (http://[\d.]+:\d+)")
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Metrics:
    """Every sample of one scrape, by its name and its labels."""

    samples: dict[tuple[str, frozenset[tuple[str, str]]], float]

    def by(self, name: str, label: str, **only: str) -> Counter[str]:
        """The samples ``name`` that have these labels, added up by another one; without what is 0."""
        sums: Counter[str] = Counter()
        for (found, labels), value in self.samples.items():
            if found == name and only.items() <= dict(labels).items() and value:
                sums[dict(labels)[label]] += int(value)
        return sums

    def total(self, name: str, **only: str) -> float:
        """All samples ``name`` that have these labels, added up."""
        return sum(
            value for (found, labels), value in self.samples.items()
            if found == name and only.items() <= dict(labels).items())


def admin_url(server: ServerProcess) -> str:
    """Where the admin listener is, without a slash at the end."""
    match = _ADMIN_LINE.search(server.stderr.wait_for("Admin listener on "))
    assert match is not None
    return match[1]


def metrics_of(server: ServerProcess) -> Metrics:
    """Ask now."""
    with _DIRECT.open(f"{admin_url(server)}/metrics", timeout=10) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    return Metrics({
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families for sample in family.samples
    })  # fmt: skip
