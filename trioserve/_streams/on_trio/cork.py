"""The cork on trio: what the tasks of one turn of the event loop have to say leaves together."""

from trioserve._streams.cork import Cork
from trioserve._streams.on_trio.waiting import TrioWaitingTasks

__all__ = ["TrioCork"]


class TrioCork(Cork):
    """Is pulled out by a task of its own, if nobody else does it: to start one each time would cost 10 us more."""

    __slots__ = ("_end_of_turn",)

    def __init__(self) -> None:
        super().__init__()
        self._end_of_turn = TrioWaitingTasks()

    def hold_for_turn(self) -> None:
        if self._end_of_turn:  # somebody will pull it out
            self.push_in()
            self._end_of_turn.wake()

    async def pull_out_after_turns(self) -> None:
        """A task that is woken in one turn runs in the next one, when all of that one have run."""
        while True:
            await self._end_of_turn.wait()
            self.pull_out()
