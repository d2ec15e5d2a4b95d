"""What a server and an application say to each other, for whoever wants to see it."""

import logging

from trioserve._server.trace.level import TRACE, log
from trioserve._types import App

__all__ = ["TRACE", "traced"]


def traced(app: App) -> App:
    """``app`` itself, or what calls it and logs its messages, if anybody wants to see them."""
    if not log.isEnabledFor(TRACE):
        return app
    from trioserve._server.trace.messages import with_lines  # nobody else pays for it

    logging.addLevelName(TRACE, "TRACE")
    return with_lines(app)
