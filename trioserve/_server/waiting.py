"""What a shutdown waits for, said while it does: whoever has pressed Ctrl-C wants to know."""

import logging
import math
from collections.abc import Callable, Iterable
from typing import Final

import anyio

from trioserve._complaints import complain

__all__ = ["another_signal", "how_long", "keep_saying", "named"]

FIRST_SECONDS: Final = 1.0  # most shutdowns are over by then, without a word
AGAIN_SECONDS: Final = 5.0
NAMED: Final = 3  # in a line, the longest first

_HURRIED_BY: Final = {
    "SIGINT": "; press Ctrl-C again to stop now", "SIGTERM": "; another SIGTERM stops now",
    "SIGHUP": "; SIGTERM stops now",
}

log = logging.getLogger("trioserve")


async def keep_saying(what: Callable[[], str]) -> None:
    """A task: log what is waited for, as long as ``what`` returns something."""
    await anyio.sleep(FIRST_SECONDS)
    while text := what():
        complain(log, "Waiting for %s", text, level=logging.INFO)
        await anyio.sleep(AGAIN_SECONDS)


def named(kind: str, things: Iterable[tuple[str, float]]) -> str:
    """``2 requests (GET /events for 40 s, GET / for 1 s)``, from pairs of a name and an age in seconds.

    Empty when there are none.
    """
    oldest_first = sorted(things, key=lambda thing: -thing[1])
    count = len(oldest_first)
    if not count:
        return ""
    names = [f"{name} for {age:.0f} s" for name, age in oldest_first[:NAMED]]
    more = f", {count - NAMED} more" if count > NAMED else ""
    return f"{count} {kind}{'s' if count > 1 else ''} ({', '.join(names)}{more})"


def how_long(deadline: float) -> str:
    """``, 28 s at most``, until a moment of ``anyio.current_time``."""
    return "" if deadline == math.inf else f", {max(0.0, deadline - anyio.current_time()):.0f} s at most"


def another_signal(reason: str) -> str:
    """How to stop at once a server that stops for this ``reason``; empty if it was no signal."""
    return _HURRIED_BY.get(reason, "")
