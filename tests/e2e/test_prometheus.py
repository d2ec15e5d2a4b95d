"""A real Prometheus scrapes two workers under load, as documented, and has something to say for every panel."""

from pathlib import Path
from typing import Final

import pytest

from tests.docs.test_metrics import queries
from tests.helpers.every_traffic import NEEDED, traffic_of_every_kind
from tests.helpers.metrics import admin_url, metrics_of
from tests.helpers.prometheus import Prometheus, run_prometheus
from tests.helpers.server_process import Flavour, wait_until
from tests.helpers.worker_processes import serve_with_workers

TURNS: Final = 10  # of traffic, each of some seconds; two are enough on an idle machine
VARIABLES: Final = {"$job": "trioserve", "$instance": ".+", "$__rate_interval": "1m"}


def filled_in(query: str) -> str:
    """As Grafana sends it, when everything is chosen."""
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    assert "$" not in query
    return query


@pytest.mark.timeout(180)
def test_every_query_of_the_dashboard_finds_something(tmp_path: Path) -> None:
    with (
        serve_with_workers(
            "probe:app", Flavour("trio"), *NEEDED, "--admin", "127.0.0.1:0", errors_expected=True) as server,
        run_prometheus(tmp_path, admin_url(server).removeprefix("http://")) as prometheus,
    ):
        empty, requests = {filled_in(query) for query in queries()}, 0
        for _ in range(TURNS):
            requests += traffic_of_every_kind(server).statuses.total()
            empty = {query for query in empty if not prometheus.query(query)}
            if not empty:
                break
        assert empty == set()
        wait_until(lambda: metrics_of(server).total("trioserve_requests_total") == requests, "all requests")
        wait_until(lambda: prometheus.value("sum(trioserve_requests_total)") == requests, "a scrape of all requests")
        assert prometheus.value('up{job="trioserve"}') == 1
        assert prometheus.value('trioserve_workers{state="answers"}') == 2
        assert prometheus.value("sum(trioserve_worker_starts_total)") == 2
        assert_rules_are_evaluated(prometheus)


def assert_rules_are_evaluated(prometheus: Prometheus) -> None:
    def all_are_well() -> bool:
        [group] = prometheus.ask("rules")["groups"]
        return all(rule["health"] == "ok" for rule in group["rules"])

    wait_until(all_are_well, "an evaluation of every rule")
