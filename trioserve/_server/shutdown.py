"""The shutdown of a server: who asks for it, its one budget, and its steps.

It works from the inside out, because that is how the nurseries are nested: listeners, connections, lifespan. The
nurseries are those of ``server.py`` and ``connections.py``; here is what they do when it is time to leave them.
"""

import logging
import math
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import anyio

from trioserve._complaints import complain
from trioserve._config import Config
from trioserve._connection import Lifetime
from trioserve._server.waiting import another_signal, how_long, named

__all__ = ["LIFESPAN_SECONDS", "SETTLE_SECONDS", "Phase", "Shutdown"]

Phase: TypeAlias = Literal["READY", "DELAY", "DRAINING", "STOPPING"]

log = logging.getLogger("trioserve")

SETTLE_SECONDS: Final = 0.5  # for clients to send one more request and be told that it is the connection's last
LIFESPAN_SHARE: Final = 0.1  # of the budget is kept for the lifespan ...
LIFESPAN_SECONDS: Final = 2.0  # ... up to this; and it gets this in any case, beyond the budget if need be


class Shutdown:
    """Requested once; then its steps are called in the order in which they stand here.

    ``on_phase`` is told when a phase begins.

    Attributes:
        phase: ``READY`` until it is requested, then ``DELAY`` if there is one, ``DRAINING``, ``STOPPING``.
        admitting: a scope for those who have been accepted and wait for a slot, cancelled at the connections' deadline.
        finishing: a scope for what is sent after the last connection has ended; cancelled when their time is over.
    """

    def __init__(
        self, config: Config, lifetime: Lifetime, on_phase: Callable[[Phase], None] = lambda phase: None
    ) -> None:
        budget = config.timeout_graceful_shutdown
        self._on_phase = on_phase
        self._lifetime = lifetime
        self._delay = config.shutdown_delay
        self._budget = math.inf if budget is None else budget  # seconds, for all steps together
        self._deadline = math.inf  # of all steps together, once the budget has begun
        self._settle_seconds = 0.0
        self._reason = ""
        self._requested = anyio.Event()
        self._forced = anyio.Event()
        self._settling = anyio.CancelScope()
        self._tasks_time = anyio.CancelScope()
        self._lifespan_time = anyio.CancelScope()
        self.phase: Phase = "READY"
        self.admitting = anyio.CancelScope()
        self.finishing = anyio.CancelScope()

    # What is asked of it.

    def request(self, reason: str, *, settle: float, within: float | None) -> bool:
        """See ``Server.request_shutdown``. Returns whether this is the first request: later ones change nothing."""
        if self._requested.is_set():
            return False
        complain(log, "Shutting down (%s)", reason, level=logging.INFO)
        self._reason = reason
        self._settle_seconds = settle
        if within is not None:
            self._budget = min(within, self._budget)
        self._enter("DELAY" if self._delay else "DRAINING")
        self._requested.set()
        if not self._delay:
            self._announce()
        return True

    def force(self) -> None:
        """Skip to the deadline."""
        self._forced.set()
        self._settling.cancel()
        now = anyio.current_time()
        self._deadline = self._tasks_time.deadline = min(self._deadline, now)
        self._lifespan_time.deadline = min(self._lifespan_time.deadline, now + LIFESPAN_SECONDS)

    def _enter(self, phase: Phase) -> None:
        if phase != self.phase:
            self.phase = phase
            self._on_phase(phase)

    # 1. No new connections.

    async def wait(self) -> None:
        """Until it is time to stop accepting: it has been requested, and load balancers had their time to notice."""
        await self._requested.wait()
        if self._delay and not self._forced.is_set():
            complain(log, "Accepting connections for %g s more%s", self._delay, another_signal(self._reason),
                     level=logging.INFO)
            with anyio.move_on_after(self._delay):
                await self._forced.wait()

    def begin(self) -> None:
        """The listeners are closed: the budget begins."""
        self._enter("DRAINING")
        self._deadline = anyio.current_time() + (0.0 if self._forced.is_set() else self._budget)
        self._announce()

    def _announce(self) -> None:
        """From now on each response tells its client that it is the last of its connection."""
        self._lifetime.closing = True
        self._lifetime.settle_seconds = self._settle_seconds
        self._lifetime.shutdown.set()
        for connection in self._lifetime.connections:
            connection.announce_end()

    # 2. Connections finish, or are cancelled at their deadline.

    async def settle(self) -> None:
        """Give clients the time to learn that the next response on their connection is its last.

        A client that sends a request while its idle connection is being closed cannot know whether it was received
        (RFC 9112 §9.5). Who is about to send gets an answer; who has been silent for long will hardly begin now.
        """
        lifetime = self._lifetime
        if self._settle_seconds > 0 and lifetime.connections:
            lifetime.when_empty = self._settling.cancel
            until = min(anyio.current_time() + self._settle_seconds, self._connections_deadline)
            with self._settling, anyio.move_on_at(until):
                await anyio.sleep_forever()

    def drain(self) -> None:
        """Idle connections go now; requests in progress get until the deadline."""
        self._lifetime.draining = True
        for connection in list(self._lifetime.connections):
            connection.drain()

    async def end_connections_in_time(self) -> None:
        """A task: wait for the deadline of the connections, or for force, and cancel those that are left."""
        with anyio.move_on_at(self._connections_deadline):
            await self._forced.wait()
        self.admitting.cancel()
        self._log_still_running()
        for connection in list(self._lifetime.connections):
            connection.cancel("shutdown-deadline")
        self._lifetime.shields.lift()
        self.finishing.cancel()

    def _log_still_running(self) -> None:
        from trioserve._admin.still_running import still_running  # most shutdowns end in time

        if lines := still_running(self._lifetime.connections):
            complain(log, "Still running, and cancelled now:\n%s", "\n".join(lines), level=logging.WARNING)

    def waits_for(self) -> str:
        """Which requests are not finished, and until when they may be; empty when they are not waited for.

        Without requests it is clients that are waited for: one has not read its response, or has not closed yet.
        """
        connections = self._lifetime.connections
        if not connections or self._forced.is_set():
            return ""
        requests = named("request", [item for connection in connections for item in connection.unfinished()])
        to_close = f"{len(connections)} connection{'s' if len(connections) > 1 else ''} to close"
        return (requests or to_close) + how_long(self._connections_deadline) + another_signal(self._reason)

    @property
    def _connections_deadline(self) -> float:
        return self._deadline - min(LIFESPAN_SECONDS, LIFESPAN_SHARE * self._budget)

    # 3. Background tasks finish, or are cancelled at the same deadline.

    def time_for_tasks(self) -> anyio.CancelScope:
        """A scope for waiting until the last of them has ended."""
        self._tasks_time.deadline = self._connections_deadline
        return self._tasks_time

    def waits_for_tasks(self) -> str:
        """Which tasks have not ended, and until when they may run; empty when they are not waited for."""
        tasks = named("background task", [(task.name, task.age) for task in self._lifetime.running_tasks()])
        if not tasks or self._forced.is_set():
            return ""
        return tasks + how_long(self._tasks_time.deadline) + another_signal(self._reason)

    # 4. The lifespan.

    def time_for_lifespan(self) -> anyio.CancelScope:
        """A scope for the end of the lifespan: what is left of the budget, and ``LIFESPAN_SECONDS`` at least."""
        self._enter("STOPPING")
        self._lifespan_time.deadline = max(self._deadline, anyio.current_time() + LIFESPAN_SECONDS)
        return self._lifespan_time

    def waits_for_lifespan(self) -> str:
        """How long the lifespan may take."""
        hurried = "" if self._forced.is_set() else another_signal(self._reason)
        return "the application's lifespan" + how_long(self._lifespan_time.deadline) + hurried
