"""Where something strikes a call of the application: a kind and a number, written ``cancel@3``. Pure."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

__all__ = [
    "AT_AWAITS", "IN_LIFESPANS", "POINT_KINDS", "LifespanKind", "Point", "PointKind", "points_of", "points_of_lifespan",
    "random_point", "seed_or_point",
]  # fmt: skip

RequestKind: TypeAlias = Literal["cancel", "leave", "pause", "slow", "shutdown"]
LifespanKind: TypeAlias = Literal["startup", "cleanup"]
PointKind: TypeAlias = RequestKind | LifespanKind

IN_REQUESTS: Final[tuple[RequestKind, ...]] = get_args(RequestKind)
IN_LIFESPANS: Final[tuple[LifespanKind, ...]] = get_args(LifespanKind)
POINT_KINDS: Final[tuple[PointKind, ...]] = (*IN_REQUESTS, *IN_LIFESPANS)

AT_AWAITS: Final[tuple[RequestKind, ...]] = ("cancel", "pause", "shutdown")
"""The kinds whose number counts awaits of the call, from 0; those of the others count its messages."""

FAR: Final = 8  # awaits or messages; a call that has fewer is not struck


@dataclass(frozen=True)
class Point:
    """A strike, at the await or the message with that number, counted from 0.

    ===========  ===================================================================
    ``cancel``   the call is cancelled while it waits
    ``leave``    the client leaves before the message
    ``pause``    other requests overtake the call while it waits
    ``slow``     the client reads slowly, from that message on
    ``shutdown`` the server is told to stop while the call waits
    ``startup``  the lifespan is cancelled while its start-up waits
    ``cleanup``  the lifespan is cancelled while its shutdown waits
    ===========  ===================================================================
    """

    kind: PointKind
    number: int

    def __str__(self) -> str:
        return f"{self.kind}@{self.number}"

    @classmethod
    def parse(cls, text: str) -> "Point":
        """Read ``cancel@3``. Raises ValueError, with what is wrong and what would be right."""
        kind, at, number = text.partition("@")
        if not at or kind not in POINT_KINDS or not (number.isascii() and number.isdigit()):
            raise ValueError(
                f"{text!r} is no point: KIND@NUMBER, such as cancel@3, where KIND is one of {', '.join(POINT_KINDS)}")
        return cls(kind, int(number))


def points_of(awaits: int, messages: int) -> list[Point]:
    """Every point of a request's call with so many awaits and messages."""
    at_awaits = [Point(kind, number) for kind in AT_AWAITS for number in range(awaits)]
    leaving = [Point("leave", number) for number in range(messages)]
    return [*at_awaits, *leaving, *([Point("slow", 0)] if messages else [])]


def points_of_lifespan(awaits: Mapping[LifespanKind, int]) -> list[Point]:
    """Every point of a lifespan whose start-up and clean-up have so many awaits."""
    return [Point(kind, number) for kind in IN_LIFESPANS for number in range(awaits[kind])]


def random_point(rng: random.Random) -> Point:
    """A point that a call may have: near its beginning, because most calls are short. Shutdowns are rare."""
    kind: RequestKind = rng.choice(("cancel", "leave", "pause", "slow")) if rng.random() < 0.98 else "shutdown"
    return Point(kind, min(rng.randrange(FAR), rng.randrange(FAR)))


def seed_or_point(text: str) -> int | Point:
    """Read what ``--chaos`` takes. Raises ValueError, with what would be right."""
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        return Point.parse(text)
    except ValueError as exc:
        raise ValueError(f"{text!r} is neither a seed, such as 7, nor a point: {exc}") from None
