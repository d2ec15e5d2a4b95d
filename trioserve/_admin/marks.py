"""A mark in the context of each call of the application, which the tasks that it starts inherit.

On asyncio nothing else tells for whom a task was started (PEP 567: a task runs in a copy of its starter's context).
"""

from contextvars import ContextVar
from typing import Final

from trioserve._connection import Mark
from trioserve._masking import without_query

__all__ = ["MARK", "is_of_lifespan", "line_of"]

MARK: Final[ContextVar[Mark | None]] = ContextVar("trioserve_mark", default=None)


def is_of_lifespan(mark: Mark) -> bool:
    """The call lasts as long as the server."""
    return mark[1] is None


def line_of(mark: Mark) -> str:
    """What was asked for, without what the query says."""
    head = mark[1]
    return "lifespan" if head is None else without_query(f"{head.method} {head.target.decode('latin-1')}")
