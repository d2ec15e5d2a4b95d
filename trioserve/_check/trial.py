"""One trial: load the application, start it, send requests, stop it, and look at what is left. On one backend."""

import faulthandler
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Final

import anyio

from trioserve._check.blocking import BlockingCalls
from trioserve._check.leftovers import Leftovers
from trioserve._check.observed import Observed
from trioserve._config import Config
from trioserve._errors import AppError, TrioserveError
from trioserve._server.application.served import surrounded
from trioserve._supervisor.event_loop import backend_options
from trioserve._supervisor.preparation import load
from trioserve._trial import Answer, Expectation, Finding, TrialRequest, ask, place_of_error
from trioserve.testing import MemoryServer, open_test_server, virtual_backend
from trioserve.testing.chaos_rounds import explore
from trioserve.testing.leftover_tasks import nothing_left

__all__ = ["CANNOT_RUN", "Outcome", "Plan", "run_trial"]

CANNOT_RUN: Final = "cannot_run"
PATIENCE_SECONDS: Final = 10.0  # in which a request that works is answered
MOST_ROUNDS: Final = 500  # of chaos; an application with more points gets a choice of them


@dataclass(frozen=True)
class Plan:
    """What to try.

    Attributes:
        target: ``module:attribute``.
        requests: each ``METHOD PATH [BODY]``.
        options: fields of ``Config``, such as ``factory`` and ``app_dir``.
        chaos: strike at every await, too.
        points: strike only there, such as ``cancel@3``.
        seconds: after which the process ends, and says where it stood.
    """

    target: str
    backend: str
    requests: list[str]
    options: dict[str, Any] = field(default_factory=dict)
    chaos: bool = False
    points: list[str] = field(default_factory=list)
    seconds: float = 60.0


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


def run_trial(plan: Plan) -> dict[str, Any]:
    """Carry out ``plan`` in this process, which is there for nothing else. Returns an ``Outcome``, ready for JSON."""
    faulthandler.dump_traceback_later(plan.seconds, exit=True)
    logging.lastResort = None  # what the application logs is not the report
    config = Config.from_options({**plan.options, "backend": plan.backend})
    outcome = Outcome(plan.backend)
    leftovers, blocking = Leftovers(), BlockingCalls()
    try:
        started = anyio.run(
            _try, plan, config, outcome, blocking, backend=config.backend, backend_options=backend_options(config))
    except TrioserveError as exc:
        return {CANNOT_RUN: str(exc)}
    outcome.findings += [*blocking.findings, *leftovers.findings()]
    if (plan.chaos or plan.points) and started:
        name, options = virtual_backend(plan.backend)
        try:
            anyio.run(_strike, plan, config, outcome, backend=name, backend_options=options)
        except ValueError as exc:
            return {CANNOT_RUN: f"{plan.target!r}: {exc}"}
    findings = [Finding(**{**asdict(finding), "backend": plan.backend}) for finding in outcome.findings]
    return asdict(outcome) | {"findings": [asdict(finding) for finding in dict.fromkeys(findings)]}


async def _try(plan: Plan, config: Config, outcome: Outcome, blocking: BlockingCalls) -> bool:
    """The plain part, in real time. Returns whether the application has started."""
    began = time.perf_counter()
    app = load(plan.target, config)
    outcome.import_seconds = time.perf_counter() - began
    observed = Observed()
    started = False
    blocking.listening = True
    try:
        async with nothing_left() as findings:
            began = time.perf_counter()
            watched = surrounded(app, config, observed.around)
            async with open_test_server(watched, access_log=False, **plan.options) as server:
                outcome.startup_seconds = time.perf_counter() - began
                started = True
                for text in plan.requests:
                    await _send(server, TrialRequest.parse(text), observed, outcome)
    except TrioserveError as exc:
        error = observed.lifespan_error
        findings = [Finding("start", str(exc), place_of_error(error) if error is not None else "")]
        outcome.failed["lifespan"] = f"{type(error).__name__}: {error}" if error is not None else str(exc)
    finally:
        blocking.listening = False
    outcome.findings += [*observed.findings(), *findings]
    return started


async def _send(server: MemoryServer, request: TrialRequest, observed: Observed, outcome: Outcome) -> None:
    """Send one request, and note what came back."""
    answer = Answer()
    client = server.connect()
    observed.begin(str(request))
    with anyio.move_on_after(PATIENCE_SECONDS):
        await ask(client, request, answer)
    client.reset()
    outcome.answers[str(request)] = str(answer)
    if not Expectation([answer]).fails:
        return
    error = observed.error
    why = f"{type(error).__name__}: {error}" if error is not None else ""
    where = place_of_error(error) if error is not None else ""
    outcome.failed[str(request)] = why
    if not isinstance(error, AppError):  # that has been noted as what it is
        outcome.findings.append(Finding(
            "answer", f"it is answered by {answer}" + (f": {why}" if why else ""), where, request=str(request)))


async def _strike(plan: Plan, config: Config, outcome: Outcome) -> None:
    """Chaos, with the requests that work. A factory makes a new application for each round."""
    new_app = partial(load, plan.target, config)
    report = await explore(
        new_app if config.factory else new_app(),
        [text for text in plan.requests if str(TrialRequest.parse(text)) not in outcome.failed],
        points=plan.points or None, rounds=MOST_ROUNDS, **plan.options)
    outcome.rounds = report.rounds
    outcome.findings += report.findings
