"""What a server and an application say to each other, for whoever wants to see it."""

from trioserve._server.trace.messages import TRACE, traced
from trioserve._server.trace.shown import is_secret

__all__ = ["TRACE", "is_secret", "traced"]
