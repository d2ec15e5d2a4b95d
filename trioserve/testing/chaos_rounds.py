"""Strikes an application at every await and message of its requests, one after the other, and says what breaks.

Each round is a server of its own: one request is struck, others come at that moment, then all of them come again.
"""

import gc
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, cast

import anyio

from trioserve._config import Config
from trioserve._points import Point, points_of
from trioserve._server.application.interface import interface_of
from trioserve._server.application.served import surrounded
from trioserve._trial import (
    Answer,
    Call,
    Expectation,
    Finding,
    TrialRequest,
    ask,
    place_of_error,
    tried,
)
from trioserve._types import AnyApp, Scope
from trioserve.testing.leftover_tasks import nothing_left
from trioserve.testing.memory_server import MemoryServer, open_test_server
from trioserve.testing.trio_order import ordered_by

__all__ = ["ChaosFailed", "ChaosReport", "chaos", "explore"]

VICTIM: Final = ("192.0.2.66", 6666)  # the client whose request is struck
STANDING: Final = {"access_log": False, "timeout_graceful_shutdown": 5.0}
STRIKES: Final = 3
LASTING: Final = ("silent", "state")
LEAKY: Final = ("cancel", "leave")


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
                lines.append(f"    Again: chaos(app, [..., {finding.request!r}, ...], points=[{finding.point!r}])")
        super().__init__("\n".join(lines))
        self.report = report


async def chaos(
    app: AnyApp | Callable[[], AnyApp], requests: Sequence[str] = ("GET /",), *, points: Iterable[str] | None = None,
    rounds: int | None = None, seed: int = 0, factory: bool = False, patience: float = 60.0, **options: Any,
) -> ChaosReport:  # fmt: skip
    """Try each await and each message of each request in turn: cancelled there, left there, overtaken there.

    Runs in the running event loop, trio's or asyncio's. It is made for a virtual clock: on a real one every timeout and
    every pause takes its time.

    Args:
        app: an application. Its lifespan runs anew for each round.
        requests: each a text ``METHOD PATH [BODY]``. They are sent alone, twice, to learn their answers; then one is
            struck while the others are sent, and all are sent once more.
        points: strike only there, such as ``["cancel@3"]``; a failure names its point.
        rounds: at most so many strikes, chosen by ``seed``; ``None`` for each that there is.
        factory: ``app`` is a function that makes a new application for each round.
        patience: seconds after which an answer will not come any more.
        options: fields of ``trioserve.Config``.

    Raises:
        ChaosFailed: something was found.
        StartupFailed: the application does not start.
        ValueError: a request or a point is not written as it should be, or the application is WSGI.
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
    site = _Site(new_app, asked, patience, STANDING | options, is_new_each_time=factory)
    report = ChaosReport()
    with _only_new_garbage():
        await _explore(site, report, only, rounds, seed)
    return report


async def _explore(
    site: "_Site", report: ChaosReport, only: list[Point] | None, rounds: int | None, seed: int
) -> None:
    with ordered_by(""):
        shapes = await site.learn(report)
    struck = [
        (request, point) for request, shape in shapes.items()
        for point in (points_of(*shape) if only is None else only)]
    if rounds is not None and rounds < len(struck):
        struck = random.Random(seed).sample(struck, rounds)
    for request, point in struck:
        report.rounds += 1
        with ordered_by(f"{request} {point}"):
            found = await site.round(request, point)
        for finding in found:
            report.add(finding.at(request=str(request), point=str(point)))
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


class _Site:
    """An application, its requests, and what is expected of them."""

    def __init__(
        self, new_app: Callable[[], AnyApp], requests: Sequence[TrialRequest], patience: float, options: dict[str, Any],
        *, is_new_each_time: bool,
    ) -> None:  # fmt: skip
        self._new_app = new_app
        self._requests = requests
        self._patience = patience
        self._options = options
        self.is_new_each_time = is_new_each_time
        self._expected: dict[TrialRequest, Expectation] = {}

    async def learn(self, report: ChaosReport) -> dict[TrialRequest, tuple[int, int]]:
        """Send each request twice. Returns those that work, with the numbers of their awaits and messages."""
        calls: list[Call] = []
        shapes: dict[TrialRequest, tuple[int, int]] = {}

        def new_call(_: Scope) -> Call:
            calls.append(Call())
            return calls[-1]

        async with nothing_left() as findings, self._serve(new_call) as server:
            for request in dict.fromkeys(self._requests):
                calls.clear()
                answers = [await self._answer(server, request), await self._answer(server, request)]
                self._expected[request] = expected = Expectation(answers)
                if expected.fails or not calls:
                    errors = [call.error for call in calls if call.error is not None]
                    report.add(_wrong("answer", f"it is answered by {answers[0]}", errors).at(request=str(request)))
                else:
                    shapes[request] = calls[0].awaits, calls[0].messages
        for finding in findings:
            report.add(finding)
        return shapes

    async def round(self, request: TrialRequest, point: Point) -> list[Finding]:
        """Strike ``request`` at ``point``; where something may leak, several times, because a little may not show."""
        trial = _Round(request, point)
        stops = point.kind == "shutdown"
        async with nothing_left() as findings, self._serve(trial.new_call) as server:
            trial.server = server
            await self._strike(trial, [] if stops else self._bystanders(request))
            if point.kind in ("pause", "slow"):
                trial.judge("overtaken", request, trial.answer, self._expected[request])
            for number in range(1, STRIKES if point.kind in LEAKY else 1):
                await self._strike(trial, [], whole=point.kind != "leave" or number % 2 == 0)
            for again in () if stops else dict.fromkeys(self._requests):
                await self._judge(trial, "state", again)
        return [*trial.findings, *findings]

    async def _strike(self, trial: "_Round", bystanders: Sequence[TrialRequest], *, whole: bool = True) -> None:
        """One client whose request is struck, and the others who come at that moment."""
        call = trial.begin()
        async with anyio.create_task_group() as clients:
            clients.start_soon(trial.ask_as_victim, self._patience, whole)
            with anyio.move_on_after(self._patience):
                await call.struck.wait()
            async with anyio.create_task_group() as others:
                for other in bystanders:
                    others.start_soon(self._judge, trial, "unrelated", other)
            call.overtaken.set()
        with anyio.move_on_after(self._patience):
            await call.ended.wait()
        trial.findings += call.findings

    def _serve(self, new_call: Callable[[Scope], Call]) -> Any:
        app = self._new_app()
        if interface_of(app) == "wsgi":
            raise ValueError("chaos strikes at awaits, and a WSGI application has none")
        config = Config.from_options(self._options)
        return open_test_server(surrounded(app, config, partial(tried, new_call=new_call)), **self._options)

    def _bystanders(self, victim: TrialRequest) -> list[TrialRequest]:
        """The other requests; the same one, when it is the only one."""
        return [request for request in dict.fromkeys(self._requests) if request != victim] or [victim]

    async def _judge(self, trial: "_Round", kind: str, request: TrialRequest) -> None:
        trial.judge(kind, request, await self._answer(trial.server, request), self._expected[request])

    async def _answer(self, server: MemoryServer, request: TrialRequest) -> Answer:
        answer = Answer()
        client = server.connect()
        with anyio.move_on_after(self._patience):
            await ask(client, request, answer)
        client.reset()
        return answer


class _Round:
    """Strikes at one point, and what comes of them."""

    server: MemoryServer

    def __init__(self, request: TrialRequest, point: Point) -> None:
        self._request = request
        self._point = point
        self._leave: Callable[[], None] = lambda: None
        self._others: list[Call] = []
        self.findings: list[Finding] = []

    def begin(self) -> Call:
        """A call to be struck, the next one that the victim's client makes."""
        self._call = Call(self._point, self._strike)
        self.answer = Answer()
        return self._call

    def new_call(self, scope: Scope) -> Call:
        if scope["client"][0] == VICTIM[0]:
            return self._call
        self._others.append(Call())
        return self._others[-1]

    def _strike(self) -> None:
        if self._point.kind == "shutdown":
            self.server.request_shutdown()
        else:
            self._leave()

    async def ask_as_victim(self, patience: float, whole: bool) -> None:
        client = self.server.connect(VICTIM)
        self._leave = client.reset
        with anyio.move_on_after(patience):
            await ask(client, self._request, self.answer, whole=whole)
        self._call.struck.set()  # or it has ended before its point
        client.reset()

    def judge(self, kind: str, request: TrialRequest, answer: Answer, expected: Expectation) -> None:
        if not expected.fails and (difference := expected.difference(answer)):
            errors = [call.error for call in self._others if call.error is not None]
            kind = "silent" if not answer.status else kind
            self.findings.append(_wrong(kind, f"then {request} gets {difference}", errors[-1:]))


def _wrong(kind: str, text: str, errors: Sequence[BaseException]) -> Finding:
    """An answer that is not as it should be, with the exception that explains it."""
    if not errors:
        return Finding(kind, text)
    return Finding(kind, f"{text}: {type(errors[0]).__name__}: {errors[0]}", place_of_error(errors[0]))
