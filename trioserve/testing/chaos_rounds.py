"""Strikes an application at every await and message of its requests, one after the other, and says what breaks.

Each round is a server of its own: one request is struck, others come at that moment, then all of them come again.
"""

import gc
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from trioserve._points import Point
from trioserve._trial import Finding, TrialRequest
from trioserve._types import AnyApp
from trioserve.testing.chaos_site import ChaosSite
from trioserve.testing.trio_order import ordered_by

__all__ = ["ChaosFailed", "ChaosReport", "chaos", "explore"]

LASTING: Final = ("silent", "state")


@dataclass
class ChaosReport:
    """What was tried and what was found.

    Attributes:
        rounds: strikes, each in a server of its own.
        findings: each once, with the first request and point that have shown it.
    """

    rounds: int = 0
    findings: list[Finding] = field(default_factory=list)

    def add(self, finding: Finding) -> None:
        """Take ``finding``, unless the same has been found at another point."""
        known = {replace(other, point="", request="") for other in self.findings}
        if replace(finding, point="", request="") not in known:
            self.findings.append(finding)


class ChaosFailed(AssertionError):
    """Something broke. ``report`` has all of it; the text has a line for each, and how to see it again."""

    def __init__(self, report: ChaosReport) -> None:
        lines = [f"{len(report.findings)} found in {report.rounds} rounds"]
        for finding in report.findings:
            lines.append(f"  {finding}")
            lines.append(f"    {finding.advice}")
            if finding.point:
                requests = f"[..., {finding.request!r}, ...], " if finding.request else ""
                lines.append(f"    Again: chaos(app, {requests}points=[{finding.point!r}])")
        super().__init__("\n".join(lines))
        self.report = report


async def chaos(
    app: AnyApp | Callable[[], AnyApp], requests: Sequence[str] = ("GET /",), *, points: Iterable[str] | None = None,
    rounds: int | None = None, seed: int = 0, factory: bool = False, patience: float = 60.0, **options: Any,
) -> ChaosReport:  # fmt: skip
    """Try each await and each message of each request in turn: cancelled there, left there, overtaken there.

    The awaits of the lifespan's start-up and clean-up are tried, too.

    Runs in the running event loop, trio's or asyncio's. It is made for a virtual clock: on a real one every timeout and
    every pause takes its time.

    Args:
        app: an application. Its lifespan runs anew for each round.
        requests: each a text ``METHOD PATH [BODY]``, or ``WS PATH [MESSAGE]`` for a WebSocket that is opened, gets the
            message, and is closed when there is no answer any more. ``H2 METHOD PATH [BODY]`` comes over HTTP/2, and
            needs the extra ``[http2]``. They are sent alone, twice, to learn their answers;
            then one is struck while the others are sent, and all are sent once more.
        points: strike only there, such as ``["cancel@3"]``; a failure names its point.
        rounds: at most so many strikes, chosen by ``seed``; ``None`` for each that there is.
        factory: ``app`` is a function that makes a new application for each round.
        patience: seconds after which an answer will not come any more.
        options: fields of ``trioserve.Config``.

    Raises:
        ChaosFailed: something was found.
        StartupFailed: the application does not start.
        ValueError: a request or a point is not written as it should be, or cannot be tried: WSGI runs in threads, which
            are neither cancelled nor held up.
        VirtualTimeStuck: on a virtual clock, a thread waits for something that does not come.
    """
    report = await explore(
        app, requests, points=points, rounds=rounds, seed=seed, factory=factory, patience=patience, **options)
    if report.findings:
        raise ChaosFailed(report)
    return report


async def explore(
    app: AnyApp | Callable[[], AnyApp], requests: Sequence[str] = ("GET /",), *, points: Iterable[str] | None = None,
    rounds: int | None = None, seed: int = 0, factory: bool = False, patience: float = 60.0, **options: Any,
) -> ChaosReport:  # fmt: skip
    """The same as ``chaos``, without raising ``ChaosFailed``."""
    asked = [TrialRequest.parse(text) for text in requests]
    only = None if points is None else [Point.parse(text) for text in points]
    new_app = cast("Callable[[], AnyApp]", app if factory else lambda: app)
    site = ChaosSite(new_app, asked, patience, options, is_new_each_time=factory)
    report = ChaosReport()
    with _only_new_garbage():
        await _explore(site, report, only, rounds, seed)
    return report


async def _explore(
    site: ChaosSite, report: ChaosReport, only: list[Point] | None, rounds: int | None, seed: int
) -> None:
    with ordered_by(""):
        strikes = await site.learn(report.add)
    if only is not None:
        strikes = site.strikes_at(only, strikes)
    if rounds is not None and rounds < len(strikes):
        chosen = set(random.Random(seed).sample(range(len(strikes)), rounds))
        strikes = [strike for number, strike in enumerate(strikes) if number in chosen]
    for strike in strikes:
        report.rounds += 1
        with ordered_by(str(strike)):
            found = await site.round(strike)
        for finding in found:
            report.add(finding.at(request=strike.subject, point=str(strike.point)))
        if not site.is_new_each_time and any(finding.kind in LASTING for finding in found):
            return  # the application has stayed broken, and would be at every other point


@contextmanager
def _only_new_garbage() -> Iterator[None]:
    """Each round looks for garbage. What was there before is passed over, which saves most of the time."""
    is_first = gc.get_freeze_count() == 0
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        if is_first:
            gc.unfreeze()
