"""An application under chaos: what is expected of it, the rounds in which it is struck, and what comes of them.

Each round is a server of its own.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import anyio

from trioserve._config import Config
from trioserve._errors import TrioserveError
from trioserve._points import IN_LIFESPANS, Point, points_of, points_of_lifespan
from trioserve._server.application.served import surrounded
from trioserve._server.application.wsgi import WsgiApp
from trioserve._trial import (
    Answer,
    Call,
    Expectation,
    Finding,
    LifespanCall,
    TrialRequest,
    options_for,
    place_of_error,
    tried,
)
from trioserve._types import AnyApp, App, Scope
from trioserve.testing.asking import ask, leave
from trioserve.testing.leftover_tasks import nothing_left
from trioserve.testing.memory_server import MemoryServer, open_test_server

__all__ = ["ChaosSite", "Strike"]

VICTIM: Final = ("192.0.2.66", 6666)  # the client whose request is struck
STANDING: Final = {"access_log": False, "timeout_graceful_shutdown": 5.0}
STRIKES: Final = 3
LEAKY: Final = ("cancel", "leave")
NOT_IN_THREADS: Final = ("cancel", "pause")


@dataclass(frozen=True)
class Strike:
    """What is struck, and where. ``request`` is ``None`` for the lifespan."""

    request: TrialRequest | None
    point: Point

    @property
    def subject(self) -> str:
        """The request as text, empty for the lifespan."""
        return "" if self.request is None else str(self.request)

    def __str__(self) -> str:
        return f"{self.subject} {self.point}".strip()


class ChaosSite:
    """An application, its requests, and what is expected of them.

    Args:
        options: fields of ``Config``.
        patience: seconds after which an answer will not come any more.
        is_new_each_time: ``new_app`` makes a new application for each server, and does not return the same one.
    """

    def __init__(
        self, new_app: Callable[[], AnyApp], requests: Sequence[TrialRequest], patience: float, options: dict[str, Any],
        *, is_new_each_time: bool,
    ) -> None:  # fmt: skip
        self._new_app = new_app
        self._requests = list(dict.fromkeys(requests))
        self._patience = patience
        self._options = STANDING | options_for(requests) | options
        self._runs_in_threads = False
        self._expected: dict[TrialRequest, Expectation] = {}
        self.is_new_each_time = is_new_each_time

    async def learn(self, note: Callable[[Finding], None]) -> list[Strike]:
        """Send each request twice, to know what is right. Returns every strike that can be tried, lifespans last."""
        calls: list[Call] = []
        strikes: list[Strike] = []
        lifespan = LifespanCall()

        def new_call(_: Scope) -> Call:
            calls.append(Call())
            return calls[-1]

        async with nothing_left() as findings, self._serve(new_call, lifespan) as server:
            for request in self._requests:
                calls.clear()
                answers = [await self._answer(server, request), await self._answer(server, request)]
                self._expected[request] = expected = Expectation(answers)
                for finding in _of_calls(calls, answers[0] if expected.fails else None):
                    note(finding.at(request=str(request)))
                if calls and not expected.fails:
                    points = points_of(calls[0].awaits, calls[0].messages)
                    strikes += [Strike(request, point) for point in points if self._can_be_tried(point)]
        for finding in findings:
            note(finding)
        return strikes + [Strike(None, point) for point in points_of_lifespan(lifespan.awaits)]

    def strikes_at(self, points: Sequence[Point], learnt: Sequence[Strike]) -> list[Strike]:
        """Those at ``points`` of everything that can be struck. Raises ValueError for a point that cannot be tried."""
        for point in points:
            if not self._can_be_tried(point):
                raise ValueError(
                    f"{str(point)!r} cannot be tried: WSGI runs in threads, which can neither be cancelled "
                    "nor held up; leave, slow and shutdown can be tried")
        requests = dict.fromkeys(strike.request for strike in learnt if strike.request is not None)
        return [
            *(Strike(request, point) for request in requests for point in points if point.kind not in IN_LIFESPANS),
            *(Strike(None, point) for point in points if point.kind in IN_LIFESPANS)]

    def _can_be_tried(self, point: Point) -> bool:
        return not (self._runs_in_threads and point.kind in NOT_IN_THREADS)

    # Rounds.

    async def round(self, strike: Strike) -> list[Finding]:
        """Strike once; where something may leak, several times, because a little may not show."""
        if strike.request is None:
            return await self._strike_lifespan(strike.point)
        return await self._strike_request(strike.request, strike.point)

    async def _strike_lifespan(self, point: Point) -> list[Finding]:
        lifespan = LifespanCall(point)
        async with nothing_left() as findings:
            with suppress(TrioserveError):  # a server whose start-up was cancelled may say that it did not start
                async with self._serve(lambda scope: Call(), lifespan):
                    pass
        return [*lifespan.findings, *findings]

    async def _strike_request(self, request: TrialRequest, point: Point) -> list[Finding]:
        trial = _Round(request, point)
        stops = point.kind == "shutdown"
        async with nothing_left() as findings, self._serve(trial.new_call) as server:
            trial.server = server
            await self._strike(trial, [] if stops else self._bystanders(request))
            if point.kind in ("pause", "slow"):
                trial.judge("overtaken", request, trial.answer, self._expected[request])
            for number in range(1, STRIKES if point.kind in LEAKY else 1):
                await self._strike(trial, [], whole=point.kind != "leave" or number % 2 == 0)
            for again in () if stops else self._requests:
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

    def _serve(
        self, new_call: Callable[[Scope], Call], lifespan: LifespanCall | None = None
    ) -> AbstractAsyncContextManager[MemoryServer]:
        def around(app: App) -> App:
            self._runs_in_threads = isinstance(app, WsgiApp)
            return tried(app, new_call, lifespan)

        config = Config.from_options(self._options)
        return open_test_server(surrounded(self._new_app(), config, around), **self._options)

    def _bystanders(self, victim: TrialRequest) -> list[TrialRequest]:
        """The other requests; the same one, when it is the only one."""
        return [request for request in self._requests if request != victim] or [victim]

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
        self._leave = partial(leave, client, self._request)
        with anyio.move_on_after(patience):
            await ask(client, self._request, self.answer, whole=whole)
        self._call.struck.set()  # or it has ended before its point
        client.reset()

    def judge(self, kind: str, request: TrialRequest, answer: Answer, expected: Expectation) -> None:
        if not expected.fails and (difference := expected.difference(answer)):
            errors = [call.error for call in self._others if call.error is not None]
            kind = "silent" if not answer.status else kind
            self.findings.append(_wrong(kind, f"then {request} gets {difference}", errors[-1:]))


def _of_calls(calls: Sequence[Call], failed: Answer | None) -> Iterator[Finding]:
    """What is wrong with calls that nothing has struck; one of them was answered by ``failed``."""
    for call in calls:
        yield from call.findings
    if failed is not None:
        yield _wrong("answer", f"it is answered by {failed}", [call.error for call in calls if call.error is not None])


def _wrong(kind: str, text: str, errors: Sequence[BaseException]) -> Finding:
    """An answer that is not as it should be, with the exception that explains it."""
    if not errors:
        return Finding(kind, text)
    return Finding(kind, f"{text}: {type(errors[0]).__name__}: {errors[0]}", place_of_error(errors[0]))
