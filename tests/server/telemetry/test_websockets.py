"""``--otel``: the span of a WebSocket."""

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from tests.helpers.http2_client import http2_client
from tests.helpers.telemetry import Exported, Sold, observed
from tests.helpers.ws_client import echo, handshake, open_websocket
from trioserve._server.http_attributes import error_of_close_code
from trioserve._types import Receive, Scope, Send


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
    assert attributes["error.type"] == f"{Sold.__module__}.Sold"
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
