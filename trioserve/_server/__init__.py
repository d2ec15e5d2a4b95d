"""The root nursery: listeners, the lifespan, connections, shutdown."""

from trioserve._server.access_log.format import escaped, phrase_of_status, utc_time
from trioserve._server.application.interface import ARGUMENTS, can_take, has_interface, interface_of, signature_of
from trioserve._server.application.openers import is_opener, opens_with_arguments
from trioserve._server.check import check
from trioserve._server.server import Server, serve
from trioserve._server.shutdown import SETTLE_SECONDS, Phase
from trioserve._server.trace import TRACE

__all__ = [
    "ARGUMENTS", "SETTLE_SECONDS", "TRACE", "Phase", "Server", "can_take", "check", "escaped", "has_interface",
    "interface_of", "is_opener", "opens_with_arguments", "phrase_of_status", "serve", "signature_of", "utc_time",
]
