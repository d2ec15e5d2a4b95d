"""A request in the hands of its application: the object behind the extension ``trioserve.request``."""

import math
from contextlib import AbstractContextManager
from typing import Final, Protocol

from trioserve._connection.shields import Shields

__all__ = ["Control"]

REASON_LENGTH: Final = 100  # characters, in each line of the log that names it


class Controlled(Protocol):
    """A request, or a WebSocket. Once it has ended, nothing changes it.

    Attributes:
        deadline: when its time is over, on the event loop's clock.
    """

    deadline: float

    def cancel(self, reason: str) -> None: ...


class Control:
    """See ``trioserve.extensions.RequestScope``, which says what applications may rely on."""

    __slots__ = ("_request", "_shields")

    def __init__(self, request: Controlled, shields: Shields) -> None:
        self._request = request
        self._shields = shields

    @property
    def deadline(self) -> float:
        return self._request.deadline

    @deadline.setter
    def deadline(self, moment: float) -> None:
        if math.isnan(moment):
            raise ValueError("a deadline is a moment of anyio.current_time(), or math.inf for none; not NaN")
        self._request.deadline = moment

    def extend(self, seconds: float) -> None:
        if not seconds >= 0:
            raise ValueError(f"a deadline is extended by a number of seconds that is not negative, not by {seconds!r}")
        self._request.deadline += seconds

    def cancel(self, reason: str) -> None:
        if not (0 < len(reason) <= REASON_LENGTH and reason.isprintable()):
            raise ValueError(
                f"a reason is 1 to {REASON_LENGTH} printable characters, for a line of the log; not {reason!r:.200}")
        self._request.cancel(reason)

    def shielded(self) -> AbstractContextManager[None]:
        return self._shields.shield()
