"""``--otel``: the metrics of requests."""

from tests.helpers.apps import hello, reply
from tests.helpers.telemetry import Exported, Sold, observed
from tests.helpers.transcripts import get
from trioserve._types import Receive, Scope, Send


async def test_the_duration_is_the_one_of_the_access_line(exported: Exported) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        [active] = exported.points("http.server.active_requests")
        assert active.value == 1
        assert dict(active.attributes) == {"http.request.method": "POST", "url.scheme": "http"}
        await reply(send)

    async with observed(app) as site:
        await site.answer_to(get().replace(b"GET", b"POST"))
    [point] = exported.points("http.server.request.duration")
    assert (point.count, point.explicit_bounds) == (
        1, (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10))
    assert dict(point.attributes) == {
        "http.request.method": "POST", "url.scheme": "http", "network.protocol.version": "1.1",
        "http.response.status_code": 200}
    [active] = exported.points("http.server.active_requests")
    assert active.value == 0


async def test_metrics_know_the_error(exported: Exported) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise Sold("out")

    async with observed(app) as site:
        await site.answer_to(get())
    [point] = exported.points("http.server.request.duration")
    assert point.attributes["error.type"] == f"{Sold.__module__}.Sold"


async def test_who_is_answered_by_the_server_itself_has_neither_span_nor_metric(exported: Exported) -> None:
    async with observed(hello) as site:
        await site.everything_after(b"nonsense\r\n\r\n")
    assert exported.spans == []
    assert exported.points("http.server.request.duration") == []
