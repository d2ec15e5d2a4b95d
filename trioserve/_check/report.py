"""What came of the trials, put together: for a person, and for a program."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trioserve._check.outcome import Outcome
from trioserve._server.lengths import shown_length
from trioserve._trial import Finding

__all__ = ["Report", "as_text"]

VERSION = 1  # of the JSON


@dataclass(frozen=True)
class Report:
    """The outcomes of an application, one for each backend."""

    target: str
    outcomes: Sequence[Outcome]

    @property
    def findings(self) -> list[Finding]:
        """Each once: what both backends have shown is about neither, and what only one can do is said as that."""
        found: dict[Finding, list[str]] = {}
        for outcome in self.outcomes:
            for finding in self._with_the_others(outcome):
                found.setdefault(replace(finding, backend=""), []).append(outcome.backend)
        several = len(self.outcomes) > 1
        return [
            finding if several and len(backends) > 1 else replace(finding, backend=backends[0])
            for finding, backends in found.items()]

    def _with_the_others(self, outcome: Outcome) -> Iterator[Finding]:
        """The findings of one backend; where another one is right, its answer is the point."""
        for finding in outcome.findings:
            subject = finding.request if finding.kind == "answer" else "lifespan" if finding.kind == "start" else None
            others = [other for other in self.outcomes if other is not outcome]
            works_on = [other.backend for other in others if subject not in other.failed]
            if subject is None or not works_on or subject not in outcome.failed:
                yield finding
            else:
                why = outcome.failed[subject]
                yield replace(
                    finding, kind="backend",
                    text=f"it works on {works_on[0]} and not on {outcome.backend}" + (f": {why}" if why else ""))

    def as_json(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "app": self.target,
            "backends": [
                {
                    "backend": outcome.backend,
                    "import_seconds": round(outcome.import_seconds, 4),
                    "startup_seconds": round(outcome.startup_seconds, 4),
                    "answers": outcome.answers,
                    "rounds": outcome.rounds,
                }
                for outcome in self.outcomes
            ],
            "findings": [finding.as_json() for finding in self.findings],
        }


def as_text(report: Report) -> list[str]:
    """Lines for a terminal: what was tried, what was found, where, and what to do."""
    lines = [report.target]
    for outcome in report.outcomes:
        lines.append(f"  {outcome.backend:<8} {', '.join(_tried(outcome))}")
    findings = report.findings
    if not findings:
        return [*lines, "Nothing found."]
    for finding in findings:
        during = ", ".join(part for part in (finding.request, finding.point, finding.backend) if part)
        lasted = f" for {shown_length(finding.seconds)}" if finding.seconds else ""
        lines += ["", f"{finding.kind:<12} {finding.text}{lasted}"]
        lines += [f"{'':<12} {label:<6} {text}" for label, text in (
            ("at", finding.where), ("during", during), ("do", finding.advice)) if text]
    return [*lines, "", f"{len(findings)} found."]


def _tried(outcome: Outcome) -> Iterator[str]:
    if not outcome.import_seconds:  # its process has ended before it could say
        yield "no result"
        return
    yield f"imported in {outcome.import_seconds * 1000:.0f} ms"
    if "lifespan" not in outcome.failed:
        yield f"started in {outcome.startup_seconds * 1000:.0f} ms"
    for request, answer in outcome.answers.items():
        yield f"{request} -> {answer}"
    if outcome.rounds:
        yield f"{outcome.rounds} {'round' if outcome.rounds == 1 else 'rounds'} of chaos"
