"""One accepted stream each: a nursery, a protocol, and the application in it."""

from trioserve._connection.context import Lifetime, ServerContext, Timeouts
from trioserve._connection.deadline_header import DeadlineHeader
from trioserve._connection.deadlines import Deadlines
from trioserve._connection.inline import await_point, orders_and_errors
from trioserve._connection.patience import WRITE_LOOKS
from trioserve._connection.records import Answered, ClosedWebSocket
from trioserve._connection.refused import Refused
from trioserve._connection.request_ids import RequestIds, TrustsPeer
from trioserve._connection.serve import Connection
from trioserve._connection.standing_fields import StandingFields
from trioserve._connection.timeouts import NoTimeout, Timeout
from trioserve._connection.turnstile import Turnstile
from trioserve._connection.websocket_limits import WebSocketLimits

__all__ = [
    "WRITE_LOOKS", "Answered", "ClosedWebSocket", "Connection", "DeadlineHeader", "Deadlines", "Lifetime", "NoTimeout",
    "Refused", "RequestIds", "ServerContext", "StandingFields", "Timeout", "Timeouts", "TrustsPeer", "Turnstile",
    "WebSocketLimits", "await_point", "orders_and_errors",
]  # fmt: skip
