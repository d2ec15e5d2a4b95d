"""The files for Prometheus and Grafana, judged by promtool; and no metric in them, or on a page, that there is not."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.metrics_page import metrics_markdown, options_that_strike, reasons
from tests.helpers.system_programs import system_program
from trioserve._admin.metrics.families import FAMILIES, OPTIONS, REASONS

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "docs/examples/deploy"
CASES = Path(__file__).with_name("alert_cases.yml")
DASHBOARD = json.loads((DEPLOY / "grafana-dashboard.json").read_text("utf-8"))
ALERTS = (DEPLOY / "prometheus-alerts.yml").read_text("utf-8")
GUIDE = (ROOT / "docs/guides/metrics.md").read_text("utf-8")
NAME = re.compile(r"\b(?:trioserve|process)_[a-z_]+\b")
SAMPLES = {
    name
    for family in FAMILIES.values()
    for name in ([f"{family.name}_{part}" for part in ("bucket", "sum", "count")] if family.buckets else [family.name])
}


def promtool(*arguments: str | Path) -> None:
    program = system_program("promtool", package="prometheus")
    done = subprocess.run(
        [program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def test_prometheus_takes_the_configuration() -> None:
    promtool("check", "config", DEPLOY / "prometheus.yml")


def test_alerts_fire_when_they_should() -> None:
    promtool("test", "rules", CASES)


def test_each_alert_has_a_case_for_firing_and_one_for_silence() -> None:
    names = [rule["alert"] for group in yaml.safe_load(ALERTS)["groups"] for rule in group["rules"]]
    for case in yaml.safe_load(CASES.read_text("utf-8"))["tests"]:
        assert [test["alertname"] for test in case["alert_rule_test"]] == names


@pytest.mark.parametrize("text", [ALERTS, GUIDE, *queries()])
def test_metrics_that_are_named_exist(text: str) -> None:
    found = set(NAME.findall(text))
    assert found
    assert found <= SAMPLES


def test_the_dashboard_shows_every_metric_but_the_facts() -> None:
    shown = {name for query in queries() for name in NAME.findall(query)}
    for name, family in FAMILIES.items():
        parts = [f"{name}_bucket"] if family.buckets else [name]
        if family.kind != "info" and name not in ("process_virtual_memory_bytes", "process_start_time_seconds"):
            assert shown >= set(parts), name


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_every_query_looks_at_the_chosen_servers_only() -> None:
    for query in queries():
        for name, selector in re.findall(r"((?:trioserve|process)_[a-z_]+)(\{[^}]*\})?", query):
            assert 'job="$job", instance=~"$instance"' in selector, name


def test_the_reference_has_every_metric_once() -> None:
    reference = metrics_markdown()
    for name, family in FAMILIES.items():
        assert reference.count(f"| `{name}` |") == 1
        assert family.help in reference
    page = (ROOT / "docs/reference/metrics.md").read_text("utf-8")
    for filled_in in ("metrics", "options that strike", "reasons"):
        assert page.count(f"<!-- {filled_in} -->") == 1
    for label in {label for family in FAMILIES.values() for label in family.labels}:
        assert f"| `{label}`" in page or label in ("version", "python", "backend", "http", "http2"), label
    assert all(f"`{option}`" in options_that_strike() for option in OPTIONS)
    assert all(f"`{reason}`" in reasons() for reason in REASONS)
