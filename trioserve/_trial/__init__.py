"""One call of the application under observation: where it waits, what strikes it there, and what it makes of that."""

from trioserve._trial.answers import Answer, Expectation, TrialRequest, options_for
from trioserve._trial.call import Call, tried
from trioserve._trial.complaints import Overheard, overhear
from trioserve._trial.deafness import unless_deaf
from trioserve._trial.driving import drive
from trioserve._trial.findings import KINDS, Finding
from trioserve._trial.lifespan_call import LifespanCall
from trioserve._trial.places import (
    is_own,
    is_own_file,
    place_of_error,
    place_of_frame,
    seen_from_here,
    steps_of_error,
    written,
)
from trioserve._trial.verdicts import MARK, verdict

__all__ = [
    "KINDS", "MARK", "Answer", "Call", "Expectation", "Finding", "LifespanCall", "Overheard", "TrialRequest", "drive",
    "is_own", "is_own_file", "options_for", "overhear", "place_of_error", "place_of_frame", "seen_from_here",
    "steps_of_error", "tried", "unless_deaf", "verdict", "written",
]  # fmt: skip
