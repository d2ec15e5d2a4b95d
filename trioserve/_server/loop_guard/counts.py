"""How often the event loop stood still."""

from dataclasses import dataclass

__all__ = ["StallCounts"]


@dataclass(slots=True)
class StallCounts:
    """Since the server's start; whoever stood while a debugger had the program does not count.

    Attributes:
        count: how often the event loop stood still for longer than it may.
        seconds: how long, together.
        longest: in seconds.
    """

    count: int = 0
    seconds: float = 0.0
    longest: float = 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.seconds += seconds
        self.longest = max(self.longest, seconds)
