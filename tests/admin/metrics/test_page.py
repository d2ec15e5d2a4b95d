"""The answer to /metrics."""

import subprocess
import sys

import pytest

from tests.helpers.serving import serving
from tests.helpers.transcripts import body_of, get, status_of
from trioserve._admin.metrics.page import Measured, MetricsApp, metrics_page
from trioserve._admin.metrics.samples import Sample

THREE = Measured({"trioserve_websockets": [Sample((), [3])]}, [])
OPENMETRICS = "accept: application/openmetrics-text;version=1.0.0"


@pytest.mark.parametrize(("fields", "content_type"), [
    ((), b"text/plain; version=0.0.4; charset=utf-8"),
    (("accept: text/plain;version=0.0.4",), b"text/plain; version=0.0.4; charset=utf-8"),
    (("accept: text/html", OPENMETRICS), b"application/openmetrics-text; version=1.0.0; charset=utf-8"),
])  # fmt: skip
async def test_over_http(fields: tuple[str, ...], content_type: bytes) -> None:
    async def measure() -> Measured:
        return THREE

    async with serving(MetricsApp(measure)) as site:
        answer = await site.answer_to(get("/metrics", *fields))
    head = answer.partition(b"\r\n\r\n")[0]
    assert status_of(answer) == 200
    assert b"content-type: " + content_type in head
    assert b"cache-control: no-store" in head
    assert b"\ntrioserve_websockets 3.0\n" in body_of(answer)


async def test_nobody_answers() -> None:
    async def measure() -> None:
        return None

    async with serving(MetricsApp(measure)) as site:
        answer = await site.answer_to(get("/metrics"))
    assert status_of(answer) == 503
    assert b"does not answer" in body_of(answer)


def test_the_text() -> None:
    page = metrics_page(THREE, "")
    assert (page.status, page.content_type.partition(";")[0]) == (200, "text/plain")
    assert b"\ntrioserve_websockets 3.0\n" in page.body


def test_the_first_scrape_imports_nothing() -> None:
    """An import would keep all requests waiting."""
    script = (
        "import sys\n"
        "from trioserve._admin.metrics.page import Measured, MetricsApp, metrics_page\n"
        "MetricsApp(lambda: None)\n"
        "before = set(sys.modules)\n"
        "metrics_page(Measured({}, []), '')\n"
        "print(sorted(set(sys.modules) - before))\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (ran.stdout, ran.stderr) == ("[]\n", "")


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "trioserve._admin.metrics.exposition", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == "prometheus_client"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [NotInstalled(), *sys.meta_path])
    page = metrics_page(THREE, "")
    assert page.status == 501
    assert b'pip install "trioserve[metrics]"' in page.body


def test_another_module_that_is_missing_is_a_mistake_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "trioserve._admin.metrics.exposition", raising=False)
    monkeypatch.setitem(sys.modules, "itertools", None)
    with pytest.raises(ModuleNotFoundError, match="itertools"):
        metrics_page(THREE, "")


class NotInstalled:
    """Finds that there is no prometheus_client."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == "prometheus_client":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
