"""What a connection shows to whoever looks at the tree: derived from what is there, nothing is kept for it."""

import math
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias

from trioserve._connection.timeouts import Timeout, Waiter
from trioserve._protocol import RequestHead
from trioserve._streams import ByteStream, CancellableNursery

__all__ = ["PHASES", "Awaited", "Look", "Mark", "Phase", "RequestLook", "RunningRequest", "awaited"]

Phase: TypeAlias = Literal["APP", "AFTER", "HEAD", "OPENING", "FAREWELL", "IDLE"]
PHASES: Final[tuple[Phase, ...]] = ("APP", "AFTER", "HEAD", "OPENING", "FAREWELL", "IDLE")
"""Of connections, those with most to see first."""


Mark: TypeAlias = tuple[float, RequestHead | None]
"""One call of the application: when its request began, in ``perf_counter`` seconds, and what it is for; ``None`` for
the lifespan. A tuple, because each request needs one."""


class Awaited(NamedTuple):
    """What has to happen before a ``deadline`` on the event loop's clock, named after its timeout."""

    kind: str
    deadline: float


class RunningRequest(Protocol):
    """A ``Request``, as far as it is shown."""

    end_reason: str

    @property
    def coro(self) -> Coroutine[Any, Any, None] | None: ...
    @property
    def context(self) -> Context | None: ...
    @property
    def masked_line(self) -> str: ...
    @property
    def age(self) -> float: ...

    def id(self) -> str | None: ...


class RequestLook(NamedTuple):
    """One request whose application runs, be it after the answer.

    Attributes:
        detail: what else its protocol knows of it, for a person.
        cancel: ends it, with a reason for the log; ``None`` when it cannot be ended without its connection.
        traffic: bytes received and sent, ``None`` when they are not known.
    """

    kind: Literal["request", "stream", "websocket"]
    request: RunningRequest
    in_progress: bool
    detail: str
    awaited: Awaited | None
    traffic: tuple[int, int] | None
    cancel: Callable[[str], None] | None


class Look(NamedTuple):
    """One connection at one moment.

    Attributes:
        phase: what it is busy with.
        version: of HTTP; empty until it is known.
        requests: those whose application runs.
        awaited: the time of whoever is waited for, ``None`` where nothing limits it.
        age: seconds.
        nursery: owns its tasks; ``None`` before it has begun and after it has ended.
    """

    phase: Phase
    version: str
    requests: Sequence[RequestLook]
    awaited: Awaited | None
    age: float
    stream: ByteStream
    nursery: CancellableNursery | None


def awaited(timeout: Timeout | None, waiter: Waiter) -> Awaited | None:
    """When ``timeout`` will strike ``waiter``, if it will."""
    if timeout is None or (deadline := timeout.moment_of(waiter)) == math.inf:
        return None
    return Awaited(f"{timeout.kind}-timeout", deadline)
