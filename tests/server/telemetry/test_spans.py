"""``--otel``: the span of a request, and how it ended."""

import logging
from typing import Any

import anyio
import anyio.to_thread
import pytest
from opentelemetry import baggage, trace
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
from tests.helpers.telemetry import SPAN_ID, TRACE_ID, Exported, Sold, observed
from tests.helpers.transcripts import get, receive_response
from trioserve import ClientDisconnected
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled


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


async def test_what_the_application_raises_is_recorded(exported: Exported) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise Sold("out")

    async with observed(app) as site:
        await site.answer_to(get())
    span, attributes = exported.span, exported.span.attributes or {}
    assert attributes["http.response.status_code"] == 500
    assert attributes["error.type"] == f"{Sold.__module__}.Sold"
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
