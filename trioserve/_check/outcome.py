"""What came of a trial on one backend."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trioserve._trial import Finding

__all__ = ["Outcome"]


@dataclass
class Outcome:
    """What came of a trial.

    Attributes:
        import_seconds, startup_seconds: the application took to be loaded, and its lifespan to start.
        answers: for each request, what came back in words: a status, or ``nothing``.
        failed: requests without an answer below 500, and why.
        rounds: strikes of chaos.
    """

    backend: str
    import_seconds: float = 0.0
    startup_seconds: float = 0.0
    answers: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    rounds: int = 0
    findings: list[Finding] = field(default_factory=list)

    @classmethod
    def from_json(cls, words: Mapping[str, Any]) -> "Outcome":
        return cls(**{**words, "findings": [Finding(**finding) for finding in words["findings"]]})
