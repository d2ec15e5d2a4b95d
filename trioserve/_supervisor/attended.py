"""A server and what has to run beside it: whoever hears signals, or answers a supervisor."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio

from trioserve._errors import TrioserveError

__all__ = ["attended"]


async def attended(serve: Callable[[], Awaitable[None]], *attendants: Callable[..., Coroutine[Any, Any, None]]) -> None:
    """Run ``serve`` once every attendant has started, and end them with it.

    Raises:
        TrioserveError: what ``serve`` raises, as it is and not in an ExceptionGroup.
    """
    failure = None
    async with anyio.create_task_group() as beside:
        for attendant in attendants:
            await beside.start(attendant)
        try:
            await serve()
        except TrioserveError as exc:  # kept, because the task group would put it into a group
            failure = exc
        beside.cancel_scope.cancel()
    if failure is not None:
        raise failure
