"""Calls that block and that nobody has a name for: the event loop stood still, and a thread has looked where.

A machine that is busy, an import or a cache that is filled may hold up a loop as well, once. So a request during which
the loop stood still is sent a second time, and only a function in which it stands both times is a finding.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from trioserve._server.loop_guard.clocks import Cause, Moment
from trioserve._server.loop_guard.guard import LoopGuard
from trioserve._server.loop_guard.standstill import standstill_at
from trioserve._streams import Network
from trioserve._trial import Finding, place_of_frame, seen_from_here

__all__ = ["Standstills", "watched"]


@dataclass
class Standstills:
    """What a guard of the event loop is to tell. Its thread calls this, and not the loop's.

    Attributes:
        places: for each function in which the loop has stood still, the line, and for how many seconds it did at most.
    """

    places: dict[str, tuple[str, float]] = field(default_factory=dict)
    _current: tuple[str, str] | None = None  # the function and the line in which it stands

    def begin(self, frame: FrameType | None, so_far: Moment) -> None:
        self._current = _function_and_line(frame)

    def end(self, seconds: float) -> None:
        if self._current is not None:
            self._add(*self._current, seconds)
        self._current = None

    def held_up(self, frame: FrameType | None, seconds: float, cause: Cause) -> None:
        if cause is Cause.LOOP and (where := _function_and_line(frame)) is not None:
            self._add(*where, seconds)

    def process_stood(self, seconds: float) -> None:
        """That is the machine's doing."""

    def findings(self, request: str, before: "Standstills") -> list[Finding]:
        """One for each function in which the loop has stood still ``before``, too, during the same request."""
        text = "seen by the clock: the event loop stood still, and every other request with it,"
        return [
            Finding("blocking", text, line, request=request, seconds=seconds)
            for function, (line, seconds) in self.places.items() if function in before.places]

    def _add(self, function: str, line: str, seconds: float) -> None:
        _, longest = self.places.get(function, ("", 0.0))
        if seconds > longest:
            self.places[function] = (line, seconds)


def _function_and_line(frame: FrameType | None) -> tuple[str, str] | None:
    standing = standstill_at(frame)
    if standing.in_debugger or not standing.stack:  # an empty one: the application is not at work at all
        return None
    return standing.function, place_of_frame(frame) or seen_from_here(standing.place)


@contextmanager
def watched(network: Network, seconds: float | None) -> Iterator[Standstills]:
    """Watch the event loop of ``network`` for the length of a block, after which all is known; ``None`` does not."""
    seen = Standstills()
    if seconds is None:
        yield seen
        return
    guard = LoopGuard(seconds, network, seen)
    with guard.watching() as thread:
        yield seen
    thread.join()
