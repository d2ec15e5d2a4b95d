"""ASGI's rules: scopes and messages, pure."""

from trioserve._asgi.http import (
    BODY,
    COMPLETE,
    FIRST_BODY,
    MESSAGE_COST,
    RUN_BYTES,
    Dated,
    HttpResponse,
    State,
    error_body,
    error_response,
)
from trioserve._asgi.origin import ProxyHeaders
from trioserve._asgi.scope import ASGI_VERSION, ScopeFactory
from trioserve._asgi.tls import tls_extension

__all__ = [
    "ASGI_VERSION",
    "BODY",
    "COMPLETE",
    "FIRST_BODY",
    "MESSAGE_COST",
    "RUN_BYTES",
    "Dated",
    "HttpResponse",
    "ProxyHeaders",
    "ScopeFactory",
    "State",
    "error_body",
    "error_response",
    "tls_extension",
]  # fmt: skip
