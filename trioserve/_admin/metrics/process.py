"""Everything that one serving process knows: what it has counted, and what there is at this moment."""

import os
import platform
import time
from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple, Protocol

from trioserve._admin.history import History
from trioserve._admin.metrics.families import OPTIONS
from trioserve._admin.metrics.loop_lag import LoopLag
from trioserve._admin.metrics.samples import Sample, Snapshot, summed
from trioserve._admin.metrics.tally import Tally, WebSocketTotals
from trioserve._connection import PHASES, Lifetime, Phase, Served
from trioserve._version import __version__

__all__ = ["Facts", "MeasuredServer", "ProcessMetrics"]

LIFESPAN_STATES: Final = ("starting", "running", "stopping", "ended")


class Facts(NamedTuple):
    """What serves: the backend, and the engines of HTTP/1.1 and HTTP/2; empty for what does not."""

    backend: str
    http: str
    http2: str


class CountedStalls(Protocol):
    """How often the event loop stood still, and for how many seconds together."""

    @property
    def count(self) -> int: ...
    @property
    def seconds(self) -> float: ...


class MeasuredServer(Protocol):
    """A server of this process."""

    @property
    def stalls(self) -> CountedStalls: ...

    @property
    def lifetime(self) -> Lifetime: ...

    def facts(self) -> Facts: ...

    def lifespan_state(self) -> str:
        """``STARTING``, ``RUNNING``, ``STOPPING`` or ``ENDED``; empty when the application has none."""


class ProcessMetrics:
    """Of one server. Its ``tally`` is a recorder, also for ``history``."""

    def __init__(self, server: MeasuredServer, history: History) -> None:
        self._server = server
        self._began = time.time()
        self._history = history
        self._lag = LoopLag()
        self.tally = Tally(history)

    async def run(self) -> None:
        """A task for the server's nursery."""
        await self._lag.run(self._on_sample)

    def _on_sample(self, seconds: float) -> None:
        self._history.make_room(seconds)
        self.tally.look_again()

    def snapshot(self) -> Snapshot:
        """To be called in the server's event loop; takes about a microsecond for each idle connection."""
        server, lifetime = self._server, self._server.lifetime
        return summed([
            self.tally.samples(),
            self._lag.samples(),
            self._census(lifetime.connections),
            _facts(server.facts()),
            {
                "trioserve_event_loop_stalls_total": [Sample((), [server.stalls.count])],
                "trioserve_event_loop_stalled_seconds_total": [Sample((), [server.stalls.seconds])],
                "trioserve_connections_accepted_total": [Sample((), [lifetime.accepted_connections])],
                "trioserve_limits_struck_total": [
                    Sample((option,), [lifetime.strikes[option]]) for option in OPTIONS],
                "trioserve_lifespans": _one_of(LIFESPAN_STATES, server.lifespan_state().lower()),
                "trioserve_worker_start_time_seconds": [Sample((str(os.getpid()),), [self._began])],
            },
        ])  # fmt: skip

    def _census(self, connections: Iterable[Served]) -> Snapshot:
        """What there is at this moment, counted by walking, because nobody counts it on the way."""
        phases: Counter[Phase] = Counter()
        requests = websockets = 0
        totals = WebSocketTotals()
        totals.add(self.tally.ended_websockets)
        for connection in connections:
            phases[connection.phase] += 1
            for one in connection.in_progress():
                if one.messages is None:
                    requests += 1
                else:
                    websockets += 1
                    totals.add(one.messages)
        return {
            "trioserve_connections": [Sample((phase.lower(),), [phases[phase]]) for phase in PHASES],
            "trioserve_requests_in_progress": [Sample((), [requests])],
            "trioserve_websockets": [Sample((), [websockets])],
            **totals.samples(),
        }


def _facts(facts: Facts) -> Snapshot:
    return {"trioserve_info": [Sample((__version__, platform.python_version(), *facts), [1])]}


def _one_of(names: Iterable[str], current: str) -> list[Sample]:
    return [Sample((name,), [int(name == current)]) for name in names]
