"""The cork on asyncio: what the tasks of one turn of the event loop have to say leaves together."""

import asyncio

from trioserve._streams.cork import Cork
from trioserve._streams.end_watch import EndWatch

__all__ = ["LoopCork"]


class LoopCork(Cork):
    """In while tasks that were woken in one turn of the event loop are expected to run, and until the last has run.

    And while the event loop itself calls streams whose tasks take their first step at once, until it has called all.

    Attributes:
        expected: how many.
        ends: notices the ends of streams that are not read.
        openers: tasks that make transports, in a turn or two; in a nursery each would cost 10 us more.
    """

    __slots__ = ("_burst", "_loop", "_turn_ends", "ends", "expected", "openers")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._burst = False
        self._turn_ends = False  # soon
        self.expected = 0
        self.ends = EndWatch(loop.add_reader, loop.remove_reader)
        self.openers: set[asyncio.Task[None]] = set()

    def expect_others(self) -> None:
        """The event loop has called somebody who runs at once, and may call others in the same turn."""
        if not self.is_in:
            self.push_in()
        if not self._turn_ends:
            self._end_turn_soon()

    hold_for_turn = expect_others

    def expect_one(self) -> None:
        """A task has been woken."""
        self.expected += 1
        if not self.is_in:
            self.push_in()

    def one_has_come(self) -> None:
        """It begins to run."""
        self.expected -= 1
        if not self.expected:
            self.all_have_come()

    def all_have_come(self) -> None:
        """The last one begins to run."""
        if self._turn_ends:
            return
        if self._streams:
            self._end_turn_soon()
        else:
            self.is_in = False  # nobody else has something to send

    def _end_turn_soon(self) -> None:
        self._turn_ends = True
        self._loop.call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._turn_ends = False
        if self.expected:  # others have been woken meanwhile
            self.release()
        else:
            self.pull_out()

    def expect_burst(self) -> None:
        """Connections are being accepted in a row: their tasks will take their first steps together."""
        if not self._burst:
            self._burst = True
            self.expected += 1
            if not self.is_in:
                self.push_in()
            self._loop.call_soon(self._loop.call_soon, self._end_burst)  # after those steps, which are called soon too

    def _end_burst(self) -> None:
        self._burst = False
        self.expected -= 1
        if not self.expected:
            self.all_have_come()
