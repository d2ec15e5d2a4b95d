"""When messages are wanted, and where their lines go."""

import logging
from typing import Final

__all__ = ["TRACE", "log"]

TRACE: Final = 5  # below DEBUG (10), as in uvicorn

log = logging.getLogger("trioserve.asgi")
