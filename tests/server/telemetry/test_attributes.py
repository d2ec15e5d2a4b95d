"""``--otel``: attributes of a request by OpenTelemetry's conventions."""

from typing import Any

import pytest

from tests.helpers.apps import hello
from tests.helpers.telemetry import Exported, observed
from tests.helpers.transcripts import get
from trioserve._server.http_attributes import KnownMethods, peer_attributes, request_attributes, span_name
from trioserve._streams import Address
from trioserve._types import Scope


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


async def test_who_is_connected_is_not_whom_a_proxy_speaks_for(exported: Exported) -> None:
    async with observed(hello, forwarded_allow_ips="192.0.2.1") as site:
        await site.answer_to(get("/", "x-forwarded-for: 198.51.100.7"))
    attributes = exported.span.attributes or {}
    assert (attributes["client.address"], attributes["network.peer.address"]) == ("198.51.100.7", "192.0.2.1")


@pytest.mark.parametrize("peer", [None, ("", None)])
def test_nobody_has_an_address_on_a_unix_socket(peer: Address | None) -> None:
    assert peer_attributes(peer) == {}
