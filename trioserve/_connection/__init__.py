"""One accepted stream each: a nursery, a protocol, and the application in it."""

from trioserve._connection.context import Lifetime, Served, ServerContext, Timeouts
from trioserve._connection.deadline_header import DeadlineHeader
from trioserve._connection.deadlines import Deadlines
from trioserve._connection.inline import orders_and_errors
from trioserve._connection.look import PHASES, Awaited, Look, Mark, Phase, RequestLook
from trioserve._connection.patience import WRITE_LOOKS
from trioserve._connection.recorders import Recorder, joined
from trioserve._connection.records import Answered, ClosedWebSocket, RecordedRequest
from trioserve._connection.refused import Refused
from trioserve._connection.request import own_span
from trioserve._connection.request_ids import RequestIds, TrustsPeer
from trioserve._connection.serve import Connection
from trioserve._connection.stacks import await_chain, await_frames, await_point, is_machinery, place_of, point_of
from trioserve._connection.standing_fields import StandingFields
from trioserve._connection.timeouts import NoTimeout, Timeout, new_timeout
from trioserve._connection.turnstile import Turnstile
from trioserve._connection.websocket_limits import WebSocketLimits

__all__ = [
    "PHASES", "WRITE_LOOKS", "Answered", "Awaited", "ClosedWebSocket", "Connection", "DeadlineHeader", "Deadlines",
    "Lifetime", "Look", "Mark", "NoTimeout", "Phase", "RecordedRequest", "Recorder", "Refused", "RequestIds",
    "RequestLook", "Served", "ServerContext", "StandingFields", "Timeout", "Timeouts", "TrustsPeer", "Turnstile",
    "WebSocketLimits", "await_chain", "await_frames", "await_point", "is_machinery", "joined", "new_timeout",
    "orders_and_errors", "own_span", "place_of", "point_of",
]  # fmt: skip
