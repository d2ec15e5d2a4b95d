"""``--otel``: spans and metrics by OpenTelemetry's conventions, as its SDK hears them."""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
import pytest
from opentelemetry import baggage, metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Histogram, InMemoryMetricReader, Sum
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv.attributes import (
    client_attributes,
    error_attributes,
    http_attributes,
    network_attributes,
    server_attributes,
    url_attributes,
    user_agent_attributes,
)
from opentelemetry.trace import SpanKind, StatusCode

from tests.helpers.apps import hello, part, read_body, reply, start
from tests.helpers.http2_client import http2_client
from tests.helpers.serving import Site, serving
from tests.helpers.transcripts import get, receive_response
from tests.helpers.ws_client import echo, handshake, open_websocket
from trioserve import ClientDisconnected, Config, ConfigError
from trioserve._host_names import HostNames
from trioserve._server import Server, telemetry
from trioserve._server.application.only_hosts import only_for_hosts
from trioserve._server.http_attributes import (
    KnownMethods,
    error_of_close_code,
    peer_attributes,
    request_attributes,
    span_name,
)
from trioserve._streams import Address
from trioserve._types import AnyApp, Receive, Scope, Send
from trioserve.testing import settled

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Exported:
    """What an SDK has been told."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meter_provider = MeterProvider([self._reader], shutdown_on_exit=False)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._spans.get_finished_spans())

    @property
    def span(self) -> ReadableSpan:
        [span] = self.spans
        return span

    def points(self, name: str) -> list[Any]:
        data = self._reader.get_metrics_data()
        found = [
            metric.data for resource in (data.resource_metrics if data is not None else [])
            for scope in resource.scope_metrics for metric in scope.metrics if metric.name == name]
        assert all(isinstance(data, (Histogram, Sum)) for data in found)
        return [point for data in found for point in data.data_points]


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Iterator[Exported]:
    """The providers of a process can be set once; so a test puts its own in the place of the functions."""
    sdk = Exported()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: sdk.tracer_provider)
    monkeypatch.setattr(metrics._internal, "get_meter_provider", lambda: sdk.meter_provider)
    yield sdk
    sdk.tracer_provider.shutdown()
    sdk.meter_provider.shutdown()


@asynccontextmanager
async def observed(app: AnyApp, **options: Any) -> AsyncIterator[Site]:
    async with serving(app, otel=True, **options) as site:
        yield site


# -- spans -------------------------------------------------------------------------------------------------------------


async def test_a_request_is_a_server_span(exported: Exported) -> None:
    async with observed(hello) as site:
        await site.answer_to(get("/tea?milk=1", "user-agent: test/1").replace(b"host: a", b"host: shop.example:8080"))
    span = exported.span
    assert (span.name, span.kind, span.parent) == ("GET", SpanKind.SERVER, None)
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes or {}) == {
        http_attributes.HTTP_REQUEST_METHOD: "GET", http_attributes.HTTP_RESPONSE_STATUS_CODE: 200,
        url_attributes.URL_SCHEME: "http", url_attributes.URL_PATH: "/tea", url_attributes.URL_QUERY: "milk=1",
        network_attributes.NETWORK_PROTOCOL_VERSION: "1.1",
        network_attributes.NETWORK_PEER_ADDRESS: "192.0.2.1", network_attributes.NETWORK_PEER_PORT: 50000,
        client_attributes.CLIENT_ADDRESS: "192.0.2.1",
        server_attributes.SERVER_ADDRESS: "shop.example", server_attributes.SERVER_PORT: 8080,
        user_agent_attributes.USER_AGENT_ORIGINAL: "test/1",
    }
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "trioserve"


async def test_the_callers_trace_goes_on(exported: Exported) -> None:
    async with observed(hello) as site:
        await site.answer_to(get("/", f"traceparent: 00-{TRACE_ID}-{SPAN_ID}-01", "tracestate: vendor=1"))
    span = exported.span
    assert span.parent is not None and span.context is not None
    assert f"{span.context.trace_id:032x}" == TRACE_ID
    assert f"{span.parent.span_id:016x}" == SPAN_ID
    assert span.parent.is_remote
    assert span.context.trace_state.get("vendor") == "1"


async def test_the_span_is_current_in_all_that_the_application_does(exported: Exported) -> None:
    seen: dict[str, int] = {}

    def look(where: str) -> None:
        seen[where] = trace.get_current_span().get_span_context().span_id

    async def child() -> None:
        look("child")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        look("before")
        await anyio.lowlevel.checkpoint()
        look("after waiting")
        async with anyio.create_task_group() as children:
            children.start_soon(child)
        seen["baggage"] = int(str(baggage.get_baggage("user")))
        await reply(send)
        await anyio.lowlevel.checkpoint()
        look("after the response")

    async with observed(app) as site:
        await site.answer_to(get("/", "baggage: user=7"))
    assert exported.span.context is not None
    assert seen.pop("baggage") == 7
    assert set(seen) == {"before", "after waiting", "child", "after the response"}
    assert set(seen.values()) == {exported.span.context.span_id}


async def test_spans_of_the_application_are_its_children(exported: Exported) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with trace.get_tracer("shop").start_as_current_span("query"):
            await reply(send)  # the request ends inside of it

    async with observed(app) as site:
        await site.answer_to(get())
    spans = {span.name: span for span in exported.spans}
    query, request = spans["query"], spans["GET"]
    assert query.parent is not None and query.parent == request.context


async def test_requests_of_one_connection_have_spans_of_their_own(exported: Exported) -> None:
    async with observed(hello) as site:
        client = site.connect()
        for target in ("/a", "/b"):
            await client.send_all(get(target))
            await receive_response(client)
        await client.aclose()
    assert [(span.attributes or {})["url.path"] for span in exported.spans] == ["/a", "/b"]
    assert [span.parent for span in exported.spans] == [None, None]


async def test_the_lifespan_has_none(exported: Exported) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "lifespan"
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async with observed(app, lifespan="on"):
        pass
    assert exported.spans == []


async def test_lines_of_the_log_have_its_ids(exported: Exported, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise Sold("out")

    with caplog.at_level(logging.INFO):
        async with observed(app, access_log=True) as site:
            await site.answer_to(get("/", f"traceparent: 00-{TRACE_ID}-{SPAN_ID}-01"))
    context = exported.span.context
    assert context is not None
    lines = [vars(record) for record in caplog.records if "trace_id" in vars(record)]
    assert {line["name"] for line in lines} == {"trioserve", "trioserve.access"}
    assert {(line["trace_id"], line["span_id"]) for line in lines} == {(TRACE_ID, f"{context.span_id:016x}")}


@pytest.mark.parametrize("engine", ["ngh2", "h2"])
async def test_each_stream_of_http2_is_a_span(engine: Any, exported: Exported) -> None:
    async with observed(hello, http2=True, http2_engine=engine) as site, http2_client(site) as client:
        await client.get("/a")
        await client.get("/b")
    assert [(span.attributes or {})["url.path"] for span in exported.spans] == ["/a", "/b"]
    assert {(span.attributes or {})["network.protocol.version"] for span in exported.spans} == {"2"}


def wsgi_app(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [trace.format_span_id(trace.get_current_span().get_span_context().span_id).encode()]


@pytest.mark.real_clock
async def test_the_span_is_current_in_the_thread_of_a_wsgi_application(exported: Exported) -> None:
    async with observed(wsgi_app, interface="wsgi") as site:
        answer = await site.answer_to(get())
    assert exported.span.context is not None
    assert f"{exported.span.context.span_id:016x}".encode() in answer


# -- how it ended ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "error"), [(204, None), (302, None), (404, None), (503, "503")])
async def test_only_errors_of_the_server_are_errors(status: int, error: str | None, exported: Exported) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, status=status)
        await part(send, b"", more=False)

    async with observed(app) as site:
        await site.answer_to(get())
    span = exported.span
    assert (span.attributes or {})["http.response.status_code"] == status
    assert (span.attributes or {}).get(error_attributes.ERROR_TYPE) == error
    assert span.status.status_code is (StatusCode.ERROR if error else StatusCode.UNSET)
    assert span.status.description is None


class Sold(Exception):
    """An error of an application's own."""


async def test_what_the_application_raises_is_recorded(exported: Exported) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise Sold("out")

    async with observed(app) as site:
        await site.answer_to(get())
    span, attributes = exported.span, exported.span.attributes or {}
    assert attributes["http.response.status_code"] == 500
    assert attributes["error.type"] == f"{__name__}.Sold"
    assert span.status.status_code is StatusCode.ERROR
    [event] = span.events
    assert (event.attributes or {})["exception.message"] == "out"


async def test_a_builtin_exception_has_no_module(exported: Exported) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise KeyError("x")

    async with observed(app) as site:
        await site.answer_to(get())
    assert (exported.span.attributes or {})["error.type"] == "KeyError"


async def test_a_timeout_says_what_the_client_got_and_why(exported: Exported) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep_forever()

    async with observed(app, timeout_request=1) as site:
        await site.answer_to(get())
    attributes = exported.span.attributes or {}
    assert (attributes["http.response.status_code"], attributes["error.type"]) == (504, "request-timeout")


async def test_a_client_that_leaves_got_no_status(exported: Exported) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        await receive()
        await reply(send)  # raises

    async with observed(app) as site:
        client = site.connect()
        await client.send_all(get())
        client.abort()
    attributes = exported.span.attributes or {}
    assert "http.response.status_code" not in attributes
    assert attributes["error.type"] == "client-disconnect"
    assert exported.span.events == ()


async def test_a_client_that_leaves_a_stream(exported: Exported) -> None:
    """Sending has raised, and the application has handled it."""
    gone = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"half")
        await gone.wait()
        with pytest.raises(ClientDisconnected):
            await part(send, b"more")
            await part(send, b"and more")

    async with observed(app, on_disconnect="notify") as site:
        client = site.connect()
        await client.send_all(get())
        await settled()
        client.abort()
        await settled()
        gone.set()
    attributes = exported.span.attributes or {}
    assert (attributes["http.response.status_code"], attributes["error.type"]) == (200, "client-disconnect")


async def test_a_response_without_its_end_is_an_error(exported: Exported) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"half")

    async with observed(app) as site:
        await site.everything_after(get())
    attributes = exported.span.attributes or {}
    assert (attributes["http.response.status_code"], attributes["error.type"]) == (200, "incomplete-response")


async def test_work_after_the_response_is_not_in_the_span(exported: Exported) -> None:
    done = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send)
        await anyio.lowlevel.checkpoint()
        await done.wait()
        raise Sold("later")

    async with observed(app) as site:
        await site.answer_to(get())
        assert exported.span.status.status_code is StatusCode.UNSET
        done.set()
    assert exported.span.events == ()


# -- WebSockets --------------------------------------------------------------------------------------------------------


async def test_a_websocket_is_one_span_until_it_is_closed(exported: Exported) -> None:
    async with observed(echo) as site:
        client = await open_websocket(site, target="/chat")
        await client.text("hello")
        await client.receive_text()
        assert exported.spans == []
        [handshaken] = exported.points("http.server.request.duration")
        assert handshaken.attributes["http.response.status_code"] == 101
        [active] = exported.points("http.server.active_requests")
        assert active.value == 0
        await client.say_goodbye()
    span, attributes = exported.span, exported.span.attributes or {}
    assert (span.name, span.kind) == ("GET", SpanKind.SERVER)
    assert (attributes["url.scheme"], attributes["http.response.status_code"]) == ("http", 101)
    assert attributes["trioserve.websocket.close_code"] == 1000
    assert span.status.status_code is StatusCode.UNSET


async def test_a_websocket_over_http2_is_asked_for_by_connect(exported: Exported) -> None:  # RFC 8441 §4
    async with observed(echo, http2=True) as site, http2_client(site) as client:
        stream = await client.ask(
            method=b"CONNECT", protocol=b"websocket", fields=[(b"sec-websocket-version", b"13")], ends=False)
        await client.head(stream)
        client.h2.end_stream(stream)
        await client.say()
        await client.answer(stream)
    span, attributes = exported.span, exported.span.attributes or {}
    assert (span.name, attributes["http.request.method"]) == ("CONNECT", "CONNECT")
    assert (attributes["http.response.status_code"], attributes["network.protocol.version"]) == (200, "2")
    assert (attributes["network.peer.address"], attributes["network.peer.port"]) == ("192.0.2.1", 50000)


async def test_who_is_connected_is_not_whom_a_proxy_speaks_for(exported: Exported) -> None:
    async with observed(hello, forwarded_allow_ips="192.0.2.1") as site:
        await site.answer_to(get("/", "x-forwarded-for: 198.51.100.7"))
    attributes = exported.span.attributes or {}
    assert (attributes["client.address"], attributes["network.peer.address"]) == ("198.51.100.7", "192.0.2.1")


@pytest.mark.parametrize("peer", [None, ("", None)])
def test_nobody_has_an_address_on_a_unix_socket(peer: Address | None) -> None:
    assert peer_attributes(peer) == {}


async def test_a_websocket_whose_application_fails(exported: Exported) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        raise Sold("out")

    async with observed(app) as site:
        client = await open_websocket(site)
        assert await client.receive_close() == 1011
        await client.close(1011)
        await client.stream.aclose()
    attributes = exported.span.attributes or {}
    assert attributes["error.type"] == f"{__name__}.Sold"
    assert attributes["trioserve.websocket.close_code"] == 1011


async def test_a_handshake_that_is_refused(exported: Exported) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.close"})

    async with observed(app) as site:
        assert (await site.everything_after(handshake())).startswith(b"HTTP/1.1 403 ")
    assert (exported.span.attributes or {})["http.response.status_code"] == 403


@pytest.mark.parametrize(("code", "error"), [
    (1000, ""), (1001, ""), (1005, ""), (1012, ""), (3000, ""), (4999, ""), (1002, "1002"), (1006, "1006"),
    (1011, "1011"),
])
def test_which_close_codes_are_errors(code: int, error: str) -> None:
    assert error_of_close_code(code) == error


# -- metrics -----------------------------------------------------------------------------------------------------------


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
    assert point.attributes["error.type"] == f"{__name__}.Sold"


async def test_who_is_answered_by_the_server_itself_has_neither_span_nor_metric(exported: Exported) -> None:
    async with observed(hello) as site:
        await site.everything_after(b"nonsense\r\n\r\n")
    assert exported.spans == []
    assert exported.points("http.server.request.duration") == []


# -- attributes --------------------------------------------------------------------------------------------------------


def scope_of(**changes: Any) -> Scope:
    return {
        "type": "http", "method": "GET", "scheme": "http", "http_version": "1.1", "raw_path": b"/", "query_string": b"",
        "headers": [], "client": None, "server": None,
    } | changes


KNOWN = KnownMethods.of({})


def test_a_method_that_nobody_knows_is_another_one() -> None:
    common, more = request_attributes(scope_of(method="BREW"), KNOWN)
    assert (common["http.request.method"], more["http.request.method_original"]) == ("_OTHER", "BREW")
    common, more = request_attributes(
        scope_of(method="BREW"), KnownMethods.of({"OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS": "GET, BREW"}))
    assert (common["http.request.method"], "http.request.method_original" in more) == ("BREW", False)


@pytest.mark.parametrize(("query", "shown"), [
    (b"a=1&Signature=abc&b=2", "a=1&Signature=REDACTED&b=2"), (b"sig=x", "sig=REDACTED"),
    (b"X-Goog-Signature=x&AWSAccessKeyId=y", "X-Goog-Signature=REDACTED&AWSAccessKeyId=REDACTED"),
    (b"access_token=x", "access_token=REDACTED"), (b"signal=1&sig", "signal=1&sig"),
])
def test_secrets_of_the_query_are_left_out(query: bytes, shown: str) -> None:
    assert request_attributes(scope_of(query_string=query), KNOWN)[1]["url.query"] == shown


@pytest.mark.parametrize(("scheme", "host", "address", "port"), [
    ("http", b"a.example", "a.example", 80), ("https", b"a.example", "a.example", 443),
    ("wss", b"a.example:8443", "a.example", 8443), ("http", b"[::1]:8000", "::1", 8000), ("http", b"[::1]", "::1", 80),
])
def test_the_server_is_the_host_that_was_asked(scheme: str, host: bytes, address: str, port: int) -> None:
    _, more = request_attributes(scope_of(scheme=scheme, headers=[(b"host", host)]), KNOWN)
    assert (more["server.address"], more["server.port"]) == (address, port)


def test_the_name_of_an_unknown_method() -> None:
    assert span_name({"http.request.method": "_OTHER"}) == "HTTP"


# -- beside others -----------------------------------------------------------------------------------------------------


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


# -- without it --------------------------------------------------------------------------------------------------------


async def test_without_an_sdk_the_log_says_that_nobody_hears(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(trace, "get_tracer_provider", trace.ProxyTracerProvider)
    with caplog.at_level(logging.WARNING, "trioserve"):
        async with observed(hello) as site:
            assert (await site.answer_to(get())).startswith(b"HTTP/1.1 200 ")
    assert ["OpenTelemetry has not been set up" in line for line in caplog.messages] == [True]


async def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "trioserve._server.telemetry", None)
    with pytest.raises(ConfigError) as error:
        Server(hello, Config(otel=True))
    assert (error.value.option, error.value.problem) == (
        "otel", "opentelemetry is not installed; install trioserve[otel]")


async def test_without_the_option_the_application_is_called_directly() -> None:
    assert Server(hello, Config())._app is hello
