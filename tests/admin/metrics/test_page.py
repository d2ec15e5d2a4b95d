"""The answer to /metrics."""

import sys

import pytest

from trioserve._admin.metrics.page import metrics_page
from trioserve._admin.metrics.samples import Sample


def test_the_text() -> None:
    page = metrics_page({"trioserve_websockets": [Sample((), [3])]}, [], "")
    assert (page.status, page.content_type.partition(";")[0]) == (200, "text/plain")
    assert b"\ntrioserve_websockets 3.0\n" in page.body


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "trioserve._admin.metrics.exposition", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == "prometheus_client"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [NotInstalled(), *sys.meta_path])
    page = metrics_page({}, [], "")
    assert page.status == 501
    assert b'pip install "trioserve[metrics]"' in page.body


def test_another_module_that_is_missing_is_a_mistake_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "trioserve._admin.metrics.exposition", raising=False)
    monkeypatch.setitem(sys.modules, "itertools", None)
    with pytest.raises(ModuleNotFoundError, match="itertools"):
        metrics_page({}, [], "")


class NotInstalled:
    """Finds that there is no prometheus_client."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == "prometheus_client":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
