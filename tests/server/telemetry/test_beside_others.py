"""``--otel`` beside what frameworks and middleware report by themselves."""

from typing import Any

import pytest
from opentelemetry.trace import SpanKind

from tests.helpers.apps import hello, reply
from tests.helpers.telemetry import SPAN_ID, TRACE_ID, Exported, observed
from tests.helpers.transcripts import get
from trioserve._host_names import HostNames
from trioserve._server import telemetry
from trioserve._server.application.only_hosts import only_for_hosts
from trioserve._types import Receive, Scope, Send


async def test_beside_the_instrumentation_of_fastapi_nothing_counts_twice(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastapi import FastAPI
    from opentelemetry.instrumentation import _semconv
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "http")
    monkeypatch.setattr(_semconv._OpenTelemetrySemanticConventionStability, "_initialized", False)
    app = FastAPI()

    @app.get("/items/{number}")
    async def item(number: int) -> int:
        return number

    FastAPIInstrumentor.instrument_app(
        app, tracer_provider=exported.tracer_provider, meter_provider=exported.meter_provider)
    async with observed(app) as site:
        await site.answer_to(get("/items/7"))
    FastAPIInstrumentor.uninstrument_app(app)
    servers = [span for span in exported.spans if span.kind is SpanKind.SERVER]
    [ours] = servers
    theirs = next(span for span in exported.spans if span.name == "GET /items/{number}")
    assert ours.instrumentation_scope is not None and ours.instrumentation_scope.name == "trioserve"
    assert theirs.parent == ours.context
    [duration] = exported.points("http.server.request.duration")
    assert (duration.count, duration.attributes["http.route"]) == (1, "/items/{number}")
    [active] = exported.points("http.server.active_requests")
    assert active.value == 0


@pytest.mark.parametrize("fields", [[], [f"traceparent: 00-{TRACE_ID}-{SPAN_ID}-01"]], ids=["alone", "called"])
@pytest.mark.parametrize("counts", [True, False])
async def test_beside_what_fastapi_does_by_itself(exported: Exported, fields: list[str], *, counts: bool) -> None:
    from fastapi import FastAPI

    options: Any = {"telemetry": {"metrics": counts, "meter_provider": exported.meter_provider}}
    app = FastAPI(**options)
    if not hasattr(app, "_telemetry"):
        pytest.skip("this FastAPI leaves it to others")

    @app.get("/items/{number}")
    async def item(number: int) -> int:
        return number

    async with observed(app) as site:
        await site.answer_to(get("/items/7", *fields))
    ours = next(span for span in exported.spans if span.name == "GET")
    theirs = next(span for span in exported.spans if span.name == "GET /items/{number}")
    assert theirs.parent is not None
    assert (theirs.parent.trace_id, theirs.parent.span_id) == (ours.context.trace_id, ours.context.span_id)
    assert (ours.parent is not None) == bool(fields)
    [duration] = exported.points("http.server.request.duration")
    assert (duration.count, "http.route" in duration.attributes) == (1, counts)


async def test_the_fields_name_the_span_as_after_any_hop(exported: Exported) -> None:
    scopes = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await reply(send)

    fields = ["x-a: 1", f"traceparent: 00-{TRACE_ID}-{SPAN_ID}-01", "baggage: a=1"]
    async with observed(app) as site:
        await site.answer_to(get("/", *fields))
    [scope] = scopes
    assert (b"x-a", b"1") in scope["headers"]
    assert [value for name, value in scope["headers"] if name == b"baggage"] == [b"a=1"]
    [value] = [value for name, value in scope["headers"] if name == b"traceparent"]
    assert value == f"00-{TRACE_ID}-{exported.span.context.span_id:016x}-01".encode()


def test_an_application_in_the_middleware_of_opentelemetry_counts_by_itself() -> None:
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    class Wrapper:
        def __init__(self, app: Any) -> None:
            self.app = app

    assert telemetry.is_instrumented(Wrapper(OpenTelemetryMiddleware(hello)))
    assert not telemetry.is_instrumented(Wrapper(hello))
    only_here = only_for_hosts(HostNames(["a.example"]), OpenTelemetryMiddleware(hello))
    assert telemetry.is_instrumented(only_here)  # what the server itself has put around it is seen through
