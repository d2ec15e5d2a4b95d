"""``trioserve check``: runs an application on each backend, in a process of its own, and says what is wrong with it."""

from trioserve._check.processes import CannotRun, check_backend
from trioserve._check.report import Report, as_text
from trioserve._check.trial import Plan

__all__ = ["CannotRun", "Plan", "Report", "as_text", "check_backend"]
