"""What OpenTelemetry's semantic conventions for HTTP say about a request, as far as a server knows it.

Names and rules are those of the stable conventions, https://opentelemetry.io/docs/specs/semconv/http/. Nothing of
OpenTelemetry's is imported.
"""

import os
import re
from collections.abc import Mapping
from typing import Final, TypeAlias

from trioserve._asgi import host_of
from trioserve._masking import is_secret
from trioserve._streams import Address
from trioserve._types import Scope

__all__ = [
    "BUCKETS", "Attributes", "KnownMethods", "error_of_close_code", "peer_attributes", "request_attributes",
    "span_name",
]  # fmt: skip

Attributes: TypeAlias = dict[str, str | int]

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Seconds; bounds that the conventions advise for the duration of requests."""

OTHER: Final = "_OTHER"
REDACTED: Final = "REDACTED"
METHODS_VARIABLE: Final = "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS"

_METHODS: Final = "CONNECT,DELETE,GET,HEAD,OPTIONS,PATCH,POST,PUT,TRACE"  # RFC 9110 §9, RFC 5789
_SCHEMES: Final = {"ws": "http", "wss": "https"}  # a WebSocket begins as a request of HTTP
_PARAMETER: Final = re.compile(r"([^&=]+)=([^&]+)")
_HOST_PORT: Final = re.compile(rb":([0-9]{1,5})$")
_WELL_CLOSED: Final = frozenset((1000, 1001, 1005, 1012))  # RFC 6455 §7.4.1; 1012 is the server's own restart


class KnownMethods(frozenset[str]):
    """Methods that are values of an attribute; others could be without number. The environment may name them."""

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> "KnownMethods":
        return cls(name.strip() for name in environment.get(METHODS_VARIABLE, _METHODS).split(","))


def request_attributes(scope: Scope, known: KnownMethods) -> tuple[Attributes, Attributes]:
    """Those of the metrics, which have few values, and those that a span has besides."""
    method: str = scope.get("method") or _method_of_handshake(scope)
    common: Attributes = {
        "http.request.method": method if method in known else OTHER,
        "url.scheme": _SCHEMES.get(scope["scheme"]) or scope["scheme"],
        "network.protocol.version": scope["http_version"],
    }
    more: Attributes = {"url.path": scope["raw_path"].decode("latin-1")}
    if method not in known:
        more["http.request.method_original"] = method
    if scope["query_string"]:
        more["url.query"] = _without_secrets(scope["query_string"].decode("latin-1"))
    if scope["client"] is not None:
        more["client.address"] = scope["client"][0]
    agent = next((value for name, value in scope["headers"] if name == b"user-agent"), None)
    if agent is not None:
        more["user_agent.original"] = agent.decode("latin-1")
    return common, more | _server_of(scope)


def _method_of_handshake(scope: Scope) -> str:
    """The scope of a WebSocket does not say (RFC 6455 §4.1, RFC 8441 §4)."""
    return "CONNECT" if scope["http_version"] == "2" else "GET"


def peer_attributes(peer: Address | None) -> Attributes:
    """Who is connected. On a unix socket nobody has an address."""
    if peer is None or peer[1] is None:
        return {}
    return {"network.peer.address": peer[0], "network.peer.port": peer[1]}


def span_name(common: Attributes) -> str:
    """By the method only: a server knows no routes, and a path is no name for many requests."""
    method = str(common["http.request.method"])
    return "HTTP" if method == OTHER else method


def error_of_close_code(code: int) -> str:
    """What is wrong with a WebSocket that ended so; empty if nothing is. From 3000 on codes mean what programs say."""
    return "" if code in _WELL_CLOSED or code >= 3000 else str(code)


def _server_of(scope: Scope) -> Attributes:
    """Whom the client has asked: the Host field, or what a trusted proxy has put in its place."""
    host = host_of(scope["headers"])
    if host is None:
        return {}
    found: Attributes = {"server.address": host.strip("[]")}
    field = next(value for name, value in scope["headers"] if name == b"host")
    if (port := _HOST_PORT.search(field)) is not None:
        found["server.port"] = int(port[1])
    else:
        found["server.port"] = 443 if scope["scheme"] in ("https", "wss") else 80
    return found


def _without_secrets(query: str) -> str:
    """Values of parameters whose names say that they let somebody in, such as ``Signature``, are replaced."""
    def masked(parameter: re.Match[str]) -> str:
        name = parameter[1]
        return f"{name}={REDACTED}" if is_secret(name) or name.lower() == "sig" else parameter[0]

    return _PARAMETER.sub(masked, query)
