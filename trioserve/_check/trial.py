"""One trial: load the application, start it, send requests, stop it, and look at what is left. On one backend."""

import faulthandler
import logging
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Final

import anyio

from trioserve._check.blocking import BlockingCalls
from trioserve._check.leftovers import Leftovers
from trioserve._check.observed import Observed
from trioserve._check.outcome import Outcome
from trioserve._check.trial_client import TrialClient
from trioserve._config import Config
from trioserve._errors import TrioserveError
from trioserve._server.application.served import surrounded
from trioserve._server.engine import choose_http2_engine
from trioserve._streams import open_network
from trioserve._supervisor.event_loop import made_in_advance
from trioserve._supervisor.preparation import load
from trioserve._trial import Finding, TrialRequest, options_for, place_of_error, place_of_frame
from trioserve._types import AnyApp
from trioserve.testing import VirtualTimeStuck, open_test_server, virtual_backend
from trioserve.testing.chaos_rounds import explore
from trioserve.testing.leftover_tasks import nothing_left

__all__ = ["CANNOT_RUN", "Plan", "run_trial"]

CANNOT_RUN: Final = "cannot_run"
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
        warn_blocked: seconds for which the event loop may stand still; ``None``: nobody looks.
        seconds: after which the process ends, and says where it stood.
    """

    target: str
    backend: str
    requests: list[str]
    options: dict[str, Any] = field(default_factory=dict)
    chaos: bool = False
    points: list[str] = field(default_factory=list)
    warn_blocked: float | None = 0.1
    seconds: float = 60.0


def run_trial(plan: Plan) -> dict[str, Any]:
    """Carry out ``plan`` in this process, which is there for nothing else. Returns an ``Outcome``, ready for JSON."""
    faulthandler.dump_traceback_later(plan.seconds, exit=True)
    logging.lastResort = None  # what the application logs is not the report
    config = Config.from_options({**plan.options, "backend": plan.backend})
    outcome = Outcome(plan.backend)
    leftovers, blocking = Leftovers(), BlockingCalls()
    try:
        with made_in_advance(config) as options:
            began = time.perf_counter()
            app = load(plan.target, config)
            outcome.import_seconds = time.perf_counter() - began
            _find_engine(plan)
            started = anyio.run(
                _try, app, plan, config, outcome, blocking, leftovers,
                backend=config.backend, backend_options=options)
    except TrioserveError as exc:
        return {CANNOT_RUN: str(exc)}
    named = {finding.where for finding in blocking.findings}
    outcome.findings = [
        *(finding for finding in outcome.findings if finding.kind != "blocking" or finding.where not in named),
        *blocking.findings, *leftovers.findings()]
    if (plan.chaos or plan.points) and started:
        name, options = virtual_backend(plan.backend)
        try:
            anyio.run(_strike, app, plan, config, outcome, backend=name, backend_options=options)
        except ValueError as exc:
            return {CANNOT_RUN: f"{plan.target!r}: {exc}"}
        except VirtualTimeStuck:
            text = "under chaos a thread waits for something that does not come, and everything else for the thread"
            outcome.findings.append(Finding("silent", text, _where_a_thread_stands()))
    findings = [Finding(**{**asdict(finding), "backend": plan.backend}) for finding in outcome.findings]
    return asdict(outcome) | {"findings": [asdict(finding) for finding in dict.fromkeys(findings)]}


def _find_engine(plan: Plan) -> None:
    """Raises ConfigError when a request is sent over HTTP/2, and no library for that is installed."""
    if options := options_for(map(TrialRequest.parse, plan.requests)):
        choose_http2_engine(Config.from_options(options))


def _where_a_thread_stands() -> str:
    """The line of the application's own in one of the threads that are not the event loop's."""
    others = [frame for thread, frame in sys._current_frames().items() if thread != threading.get_ident()]
    return next(filter(None, map(place_of_frame, others)), "")


async def _try(
    app: AnyApp, plan: Plan, config: Config, outcome: Outcome, blocking: BlockingCalls, leftovers: Leftovers
) -> bool:
    """The plain part, in real time. Returns whether the application has started."""
    observed = Observed()
    started = False
    blocking.listening = True
    leftovers.begin()
    try:
        async with nothing_left() as findings:
            began = time.perf_counter()
            watched_app = surrounded(app, config, observed.around)
            requests = [TrialRequest.parse(text) for text in plan.requests]
            options = options_for(requests) | plan.options
            async with open_test_server(watched_app, access_log=False, **options) as server:
                outcome.startup_seconds = time.perf_counter() - began
                started = True
                client = TrialClient(server, observed, open_network(), plan.warn_blocked)
                for request in requests:
                    await client.try_request(request, outcome)
    except TrioserveError as exc:
        error = observed.lifespan_error
        findings = [Finding("start", str(exc), place_of_error(error) if error is not None else "")]
        outcome.failed["lifespan"] = f"{type(error).__name__}: {error}" if error is not None else str(exc)
    finally:
        blocking.listening = False
    outcome.findings += [*observed.findings(), *findings]
    return started


async def _strike(app: AnyApp, plan: Plan, config: Config, outcome: Outcome) -> None:
    """Chaos, with the requests that work. A factory makes a new application for each round."""
    report = await explore(
        partial(load, plan.target, config) if config.factory else app,
        [text for text in plan.requests if str(TrialRequest.parse(text)) not in outcome.failed],
        points=plan.points or None, rounds=MOST_ROUNDS, **plan.options)
    outcome.rounds = report.rounds
    outcome.findings += report.findings
