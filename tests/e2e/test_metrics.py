"""What clients have counted, what the access log says and what /metrics says are the same numbers."""

import json
import os
import signal
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from tests.helpers.every_traffic import NEEDED, traffic_of_every_kind
from tests.helpers.metrics import Metrics, metrics_of
from tests.helpers.raw_http import RawClient, fetch
from tests.helpers.server_process import Flavour, ServerProcess, serve, wait_until
from tests.helpers.worker_processes import pid_of_answer, ready_pids, serve_with_workers, worker_pids


@pytest.fixture(params=[1, 2], ids=["one", "two"])
def server(request: pytest.FixtureRequest, loop: Flavour) -> Iterator[ServerProcess]:
    serve_it = serve if request.param == 1 else serve_with_workers
    options = (*NEEDED, "--admin", "127.0.0.1:0", "--log-format", "json")
    with serve_it("probe:app", loop, *options, errors_expected=True) as running:
        yield running


def test_parity(server: ServerProcess) -> None:
    seen = traffic_of_every_kind(server)
    metrics = settled_metrics(server, requests=seen.statuses.total(), websockets=seen.websockets.total())
    answered, closed = access_lines(server, requests=seen.statuses.total(), websockets=seen.websockets.total())
    assert Counter(line["status"] for line in answered) == seen.statuses
    assert by_class(seen.statuses) == metrics.by("trioserve_requests_total", "status")
    assert versions_of(answered) == metrics.by("trioserve_requests_total", "http_version")
    assert methods_of(answered) == metrics.by("trioserve_requests_total", "method")
    assert sum(line["bytes"] for line in answered) == seen.received_bytes == metrics.total(
        "trioserve_response_body_bytes_total")
    assert seen.sent_bytes == metrics.total("trioserve_request_body_bytes_total")
    assert timed(answered) == metrics.total("trioserve_request_duration_seconds_count")
    assert Counter(line["close_code"] for line in closed) == seen.websockets
    assert {str(code): count for code, count in seen.websockets.items()} == metrics.by(
        "trioserve_websockets_closed_total", "code")
    for direction in ("received", "sent"):
        assert seen.messages == sum(line[f"{direction}_messages"] for line in closed) == metrics.total(
            "trioserve_websocket_messages_total", direction=direction)
        assert sum(line[f"{direction}_bytes"] for line in closed) == metrics.total(
            "trioserve_websocket_payload_bytes_total", direction=direction)
    assert metrics.by("trioserve_limits_struck_total", "option") == {"timeout_header": 2, "limit_header_count": 2}
    early = metrics.by("trioserve_requests_ended_early_total", "reason")
    wait_until(lambda: ended_early(server).total() >= early.total(), "all lines about them")
    assert ended_early(server) == early
    assert_nothing_is_left(metrics)


def test_what_serves(server: ServerProcess, loop: Flavour) -> None:
    metrics = metrics_of(server)
    assert metrics.by("trioserve_info", "backend") == {loop.backend: 1}
    assert metrics.by("trioserve_info", "http2") == {"ngh2": 1}
    assert metrics.by("trioserve_lifespans", "state") == {"running": metrics.total("trioserve_workers")}
    assert metrics.by("trioserve_workers", "state") == {"answers": len(server_pids(server))}
    assert set(metrics.by("trioserve_worker_start_time_seconds", "pid")) == set(map(str, server_pids(server)))
    assert metrics.by("process_resident_memory_bytes", "pid").keys() >= set(map(str, server_pids(server)))


def server_pids(server: ServerProcess) -> list[int]:
    """The processes that serve."""
    return worker_pids(server) or [server.pid]


# -- what the others say ---------------------------------------------------------------------------------------------


def settled_metrics(server: ServerProcess, *, requests: int, websockets: int) -> Metrics:
    """Once so many requests and so many ends of WebSockets have been counted."""

    def all_counted() -> bool:
        metrics = metrics_of(server)
        found = [metrics.total(name) for name in ("trioserve_requests_total", "trioserve_websockets_closed_total")]
        return found[0] >= requests and found[1] >= websockets

    wait_until(all_counted, "all requests and WebSockets")
    return metrics_of(server)


def access_lines(server: ServerProcess, *, requests: int, websockets: int) -> tuple[list[Any], list[Any]]:
    """Of requests, and of WebSockets that have ended."""

    def lines() -> list[Any]:
        return [json.loads(line) for line in server.stdout.lines_with('"logger": "trioserve.access"')]

    wait_until(lambda: len(lines()) >= requests + websockets, "all access lines")
    found = lines()
    closed = [line for line in found if "close_code" in line]
    return [line for line in found if "close_code" not in line], closed


def by_class(statuses: Counter[int]) -> Counter[str]:
    classes: Counter[str] = Counter()
    for status, count in statuses.items():
        classes[f"{status // 100}xx"] += count
    return classes


def versions_of(lines: Iterable[Any]) -> Counter[str]:
    return Counter(line["http_version"] or "unknown" for line in lines)


def methods_of(lines: Iterable[Any]) -> Counter[str]:
    return Counter(line["method"] if line["method"] in ("GET", "POST") else "other" for line in lines)


def timed(lines: Iterable[Any]) -> int:
    return sum(line["duration_ms"] is not None for line in lines)


def ended_early(server: ServerProcess) -> Counter[str]:
    """What the log says about requests that were ended before their time."""
    messages = [json.loads(line)["message"] for line in server.stderr.lines_with(": ended ")]
    return Counter(message.partition(":")[0] for message in messages)


def assert_nothing_is_left(metrics: Metrics) -> None:
    assert metrics.total("trioserve_requests_in_progress") == metrics.total("trioserve_websockets") == 0
    assert metrics.total("trioserve_connections", state="app") == 0


# -- workers that come and go ------------------------------------------------------------------------------------------


def test_counters_do_not_fall_when_a_worker_ends() -> None:
    with serve_with_workers("probe:app", Flavour("trio"), "--admin", "127.0.0.1:0", errors_expected=True) as server:
        first, second = ready_pids(server)
        by_worker = Counter(pid_of_answer(server) for _ in range(30))
        assert set(by_worker) <= {first, second}
        wait_until(lambda: metrics_of(server).total("trioserve_requests_total") == 30, "all requests")
        os.kill(first, signal.SIGKILL)
        server.stderr.wait_for(" is ready")  # the successor; those of the beginning "are ready"
        metrics = metrics_of(server)
        assert metrics.total("trioserve_requests_total") == 30
        assert metrics.total("trioserve_request_duration_seconds_count") == 30
        assert metrics.total("trioserve_workers", state="answers") == 2
        assert metrics.total("trioserve_worker_starts_total") == 3
        assert metrics.by("trioserve_worker_exits_total", "outcome") == {"killed": 1}
        pids = set(metrics.by("trioserve_worker_start_time_seconds", "pid"))
        assert len(pids) == 2
        assert str(first) not in pids


def test_what_a_worker_counts_until_it_is_replaced_is_not_lost() -> None:
    """Nobody has asked before."""
    with serve_with_workers("probe:app", Flavour("trio"), "--admin", "127.0.0.1:0") as server:
        for _ in range(20):
            fetch(server.address, "/hello")
        server.send_signal(signal.SIGHUP)
        server.stderr.wait_for("Every worker has had its turn")
        wait_until(lambda: metrics_of(server).total("trioserve_worker_exits_total") == 2, "the end of both workers")
        metrics = metrics_of(server)
        assert metrics.total("trioserve_requests_total") == 20
        assert metrics.by("trioserve_worker_exits_total", "outcome") == {"stopped": 2}
        assert metrics.total("trioserve_workers", state="answers") == 2


def test_a_worker_that_stands_still_is_silent() -> None:
    with serve_with_workers(
        "probe:app", Flavour("trio"), "--admin", "127.0.0.1:0", "--timeout-worker-healthcheck", "off",
        errors_expected=True,
    ) as server:
        for _ in range(20):
            fetch(server.address, "/hello")
        wait_until(lambda: metrics_of(server).total("trioserve_requests_total") == 20, "all requests")
        with RawClient(server.address) as client:
            client.get("/wedge")
            server.stderr.wait_for("wedged")
            metrics = metrics_of(server)
            assert metrics.by("trioserve_workers", "state") == {"answers": 1, "silent": 1}
            assert metrics.total("trioserve_requests_total") == 20
            for pid in ready_pids(server):
                os.kill(pid, signal.SIGKILL)


def test_beside_the_application_it_tells_of_its_own_process() -> None:
    with serve("probe:app", Flavour("trio"), "--admin-path", "/-/admin", "--admin-host", "test") as server:
        fetch(server.address, "/hello")
        text = fetch(server.address, "/-/admin/metrics").body.decode()
    assert 'trioserve_workers{state="answers"} 1.0' in text.splitlines()
