"""What part of the tree somebody wants to see: the parameters of ``/tree`` and ``/tree/events``."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

__all__ = ["EVERYTHING", "View", "read_interval", "read_view"]

LIMITS: Final = (1, 500)
INTERVALS: Final = (0.2, 60.0)
LONGEST_FILTER: Final = 200  # characters


@dataclass(frozen=True, slots=True)
class View:
    """See docs/reference/tree.md.

    Attributes:
        limit: the most children of one node.
        offset: connections to pass over.
        filter: a text that occurs in each connection.
        stack: the id of the node that gets its await stack.
    """

    limit: int = 50
    offset: int = 0
    filter: str = ""
    stack: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


EVERYTHING: Final = View(limit=LIMITS[1])


def read_view(query: bytes) -> View:
    """The view that a query string asks for. Raises ValueError, with one line that says what is wrong."""
    given = _parameters(query)
    if len(given.get("filter", "")) > LONGEST_FILTER:
        raise ValueError(f"filter: at most {LONGEST_FILTER} characters")
    return View(
        limit=_number(given, "limit", 50, *LIMITS),
        offset=_number(given, "offset", 0, 0, 10**9),
        filter=given.get("filter", ""),
        stack=given.get("stack", ""),
    )


def read_interval(query: bytes) -> float:
    """Seconds from one snapshot to the next. Raises ValueError as ``read_view``."""
    text = _parameters(query).get("interval", "1")
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not INTERVALS[0] <= seconds <= INTERVALS[1]:
        raise ValueError(f"interval: {text[:20]!r} is no number of seconds from {INTERVALS[0]:g} to {INTERVALS[1]:g}")
    return seconds


def _parameters(query: bytes) -> Mapping[str, str]:
    return dict(parse_qsl(query.decode("latin-1"), max_num_fields=20))


def _number(given: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = given.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and least <= int(text) <= most):
        raise ValueError(f"{name}: {text[:20]!r} is no whole number from {least} to {most}")
    return int(text)
