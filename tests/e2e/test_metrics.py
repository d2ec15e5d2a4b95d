"""What clients have counted, what the access log says and what /metrics says are the same numbers: two workers."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.helpers.metrics import Metrics, metrics_of
from tests.helpers.raw_http import RawClient, fetch
from tests.helpers.server_process import Flavour, ServerProcess, wait_until
from tests.helpers.worker_processes import serve_with_workers

OPTIONS: Final = ("--admin", "127.0.0.1:0", "--http2", "--log-format", "json", "--timeout-header", "1s")
LEFT: Final = 499


@dataclass
class Seen:
    """What clients have seen: answers by status, body bytes, WebSockets."""

    statuses: Counter[int] = field(default_factory=Counter)
    sent_bytes: int = 0
    received_bytes: int = 0
    websockets: Counter[int] = field(default_factory=Counter)
    messages: int = 0

    def note(self, status: int, body: bytes = b"") -> None:
        self.statuses[status] += 1
        self.received_bytes += len(body)


@pytest.fixture(scope="module")
def server(loop: Flavour) -> Iterator[ServerProcess]:
    with serve_with_workers("probe:app", loop, *OPTIONS, errors_expected=True) as running:
        yield running


def test_parity(server: ServerProcess) -> None:
    seen = Seen()
    ordinary(server, seen)
    over_http2(server, seen)
    refused(server, seen)
    aborted(server, seen)
    websockets(server, seen)
    wait_until(lambda: metrics_of(server).total("trioserve_requests_total") >= seen.statuses.total(), "all requests")
    metrics = metrics_of(server)
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
    assert ended_early(server) == metrics.by("trioserve_requests_ended_early_total", "reason")
    assert_nothing_is_left(metrics)


# -- traffic ---------------------------------------------------------------------------------------------------------


def ordinary(server: ServerProcess, seen: Seen) -> None:
    for target in ("/hello", "/nothing", "/fail", "/return_early") * 4:
        answer = fetch(server.address, target)
        seen.note(answer.status, answer.body)
    for _ in range(4):
        with RawClient(server.address) as client:
            for _ in range(3):
                client.get("/hello")
                answer = client.receive_response()
                seen.note(answer.status, answer.body)
            client.send(b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000)
            answer = client.receive_response()
            seen.note(answer.status, answer.body)
            seen.sent_bytes += 5000
            client.send(b"BREW /hello HTTP/1.1\r\nHost: test\r\n\r\n")
            answer = client.receive_response()
            seen.note(answer.status, answer.body)


def over_http2(server: ServerProcess, seen: Seen) -> None:
    for _ in range(4):
        with httpx.Client(http1=False, http2=True, trust_env=False) as client:
            for target in ("/hello", "/nothing", "/fail"):
                answer = client.get(f"{server.url}{target}")
                seen.note(answer.status_code, answer.content)
            answer = client.post(f"{server.url}/echo", content=b"x" * 7000)
            seen.note(answer.status_code, answer.content)
            seen.sent_bytes += 7000


def refused(server: ServerProcess, seen: Seen) -> None:
    for request in (b"no request\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 101 + b"\r\n", b"GET / HTT") * 2:
        with RawClient(server.address) as client:
            client.send(request)
            answer = client.receive_response()
            seen.note(answer.status, answer.body)


def aborted(server: ServerProcess, seen: Seen) -> None:
    """Clients that leave before they get anything, and after the first part of it."""
    for number in range(3):
        client = RawClient(server.address)
        client.get(f"/hang_midway?token=midway-{number}")
        client.receive_until(b"begun")
        client.reset()
        server.stderr.wait_for(f"midway-{number} cancelled")
        seen.note(200, b"begun")
    for number in range(3):
        client = RawClient(server.address)
        client.send(f"POST /echo?token=upload-{number} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nbegun".encode())
        server.stderr.wait_for(f"upload-{number} entered")
        client.reset()
        server.stderr.wait_for(f"upload-{number} disconnected")
        seen.note(LEFT)
        seen.sent_bytes += len(b"begun")


def websockets(server: ServerProcess, seen: Seen) -> None:
    for _ in range(4):
        with connect(f"{server.ws_url}/echo", proxy=None, compression=None) as socket:
            for text in ("a", "bc", "x" * 1000):
                socket.send(text)
                assert socket.recv() == text
                seen.messages += 1
        seen.note(101)
        seen.websockets[1000] += 1
    for target, status, size in (("/refuse", 403, 0), ("/deny", 429, 11)):
        with pytest.raises(InvalidStatus) as refusal:
            connect(f"{server.ws_url}{target}", proxy=None)
        assert refusal.value.response.status_code == status
        seen.note(status, b"x" * size)


# -- what the others say ---------------------------------------------------------------------------------------------


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
