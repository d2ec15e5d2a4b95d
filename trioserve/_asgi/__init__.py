"""ASGI's rules: scopes and messages, pure."""

from trioserve._asgi.file_message import FileMessage
from trioserve._asgi.messages import type_of
from trioserve._asgi.origin import ProxyHeaders, host_of
from trioserve._asgi.own_answers import Dated, error_body
from trioserve._asgi.response import MESSAGE_COST, RUN_BYTES, Response
from trioserve._asgi.scope import ASGI_VERSION, ScopeFactory
from trioserve._asgi.states import BODY, COMPLETE, FIRST_BODY, START, State
from trioserve._asgi.tls import tls_extension
from trioserve._asgi.tolerated import ResponseWatch, WebSocketWatch

__all__ = [
    "ASGI_VERSION",
    "BODY",
    "COMPLETE",
    "FIRST_BODY",
    "MESSAGE_COST",
    "RUN_BYTES",
    "START",
    "Dated",
    "FileMessage",
    "ProxyHeaders",
    "Response",
    "ResponseWatch",
    "ScopeFactory",
    "State",
    "WebSocketWatch",
    "error_body",
    "host_of",
    "tls_extension",
    "type_of",
]  # fmt: skip
