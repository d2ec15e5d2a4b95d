"""A stream of HTTP/2 whose client does not take what is sent: how long it has time, and who waits for it meanwhile."""

from collections.abc import Callable

from trioserve._connection.context import ServerContext
from trioserve._connection.patience import Patience, Unread

__all__ = ["Congestion"]


class Congestion:
    """Of one stream, made when it is congested for the first time: most never are."""

    __slots__ = ("_drained", "_patience")

    def __init__(self, stream: Unread, ctx: ServerContext, on_stuck: Callable[[], None]) -> None:
        self._patience = Patience(stream, ctx, on_stuck)
        self._drained = ctx.new_waiting_tasks()

    def begin(self) -> None:
        """From now on the write timeout runs."""
        self._patience.on_congested()

    def end(self) -> None:
        """The client has taken all, or never will."""
        self._patience.on_drained()
        self._drained.wake()

    async def wait(self) -> None:
        """Until ``end`` is called. The stream may be congested again by the time when the caller runs."""
        await self._drained.wait()
