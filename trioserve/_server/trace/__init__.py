"""What a server and an application say to each other, for whoever wants to see it."""

from trioserve._server.trace.messages import TRACE, traced

__all__ = ["TRACE", "traced"]
