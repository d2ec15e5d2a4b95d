"""One accepted stream each: a task, a cancel scope, and the application in it."""

from trioserve._connection.context import Lifetime, ServerContext, StandingFields, Timeouts
from trioserve._connection.exchange import Exchange
from trioserve._connection.http1 import Http1Connection
from trioserve._connection.inline import orders_and_errors
from trioserve._connection.refused import Refused
from trioserve._connection.request_body import BodyReceiver
from trioserve._connection.request_ids import RequestIds, TrustsPeer
from trioserve._connection.supervision import Supervision
from trioserve._connection.timeouts import NoTimeout, Timeout
from trioserve._connection.turnstile import Turnstile
from trioserve._connection.websocket_service import WebSocketService

__all__ = [
    "BodyReceiver",
    "Exchange",
    "Http1Connection",
    "Lifetime",
    "NoTimeout",
    "Refused",
    "RequestIds",
    "ServerContext",
    "StandingFields",
    "Supervision",
    "Timeout",
    "Timeouts",
    "TrustsPeer",
    "Turnstile",
    "WebSocketService",
    "orders_and_errors",
]
