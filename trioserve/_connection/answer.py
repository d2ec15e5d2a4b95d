"""A request on the way to its answer: what exchanges and the handshakes of WebSockets have in common."""

import math
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from contextvars import Context
from time import perf_counter
from typing import Any, Generic, Literal, Self, TypeVar

from trioserve._asgi import COMPLETE, FIRST_BODY, Response, error_body
from trioserve._connection.context import ServerContext
from trioserve._connection.control import Control
from trioserve._connection.deadline_header import DeadlineHeader
from trioserve._connection.look import Awaited, RequestLook, awaited
from trioserve._connection.records import MessageCounts
from trioserve._connection.request import Request
from trioserve._connection.supervision import Supervision
from trioserve._connection.turnstile import Turnstile
from trioserve._errors import PeerError
from trioserve._protocol import RequestHead
from trioserve._streams import Address, WaitingTasks
from trioserve._types import Scope

__all__ = ["Answer", "ResponseT"]

ResponseT = TypeVar("ResponseT", bound=Response)  # the one of a version of HTTP, which its owner knows


class Answer(Generic[ResponseT]):
    """Begins with the request, and is finished when nothing is missing of the answer, or nothing more will come.

    Attributes:
        request: who asks for what.
        response: how far the answer is.
        refusal: why the application cannot answer; the owner does it then, if nothing else has been sent.
        answered: the request counts no longer, whatever the application still does.
        left_first: the refusal has come too late, the client had left.
    """

    __slots__ = (
        "_end_waits", "_goes_on", "_stopped", "_supervision", "answered", "left_first", "refusal", "request",
        "response",
    )  # fmt: skip

    def __init__(self, request: Request, response: ResponseT) -> None:
        self.request = request
        self.response = response
        self.refusal: PeerError | None = None
        self.answered = False
        self.left_first = False
        self._goes_on = False  # after its answer, beside the requests that follow
        self._stopped = False  # the application has been told that nothing can be sent any more
        self._supervision: Supervision | None = None
        self._end_waits: WaitingTasks | None = None  # calls of receive()

    def _extend(self, extensions: dict[str, Any], ctx: ServerContext) -> None:
        """Add what the server offers to a scope's extensions: functions, which can be copied with the scope.

        The first two are ``Lifetime.extensions``, key by key: a call and a merge are 0.1 us of each request.
        """
        lifetime = ctx.lifetime
        extensions["trioserve.shutdown"] = {"wait": lifetime.wait_shutdown}
        extensions["trioserve.tasks"] = {"start": lifetime.start_task, "running": lifetime.running_tasks}
        extensions["trioserve.request"] = {"get": self.control}
        if ctx.request_ids is not None:
            extensions["trioserve.request_id"] = {"get": self.request_id}

    def control(self) -> Control:
        """The request in the hands of its application."""
        return Control(self)

    def __deepcopy__(self, memo: object) -> Self:
        """A copied scope is of the same request."""
        return self

    def _supervise(self) -> Supervision:
        if self._supervision is None:
            self._supervision = Supervision(self, self.request.outlet, self.request.owner)
        return self._supervision

    def _supervise_from_the_beginning(self, scope: Scope) -> None:
        """As the options say."""
        ctx = self.request.owner.ctx
        supervision = self._supervise()
        if ctx.timeouts.request is not None:
            supervision.limit_time()
            scope["extensions"]["trioserve.timeout_request"] = {"restart": lambda: supervision.limit_time()}
        if ctx.deadline_header is not None:
            self._keep_deadline(ctx.deadline_header, supervision)
        if ctx.on_disconnect == "cancel":
            supervision.watch_soon()

    def _keep_deadline(self, header: DeadlineHeader, supervision: Supervision) -> None:
        """The client waits until some moment, which only matters before the request timeout."""
        outlet = self.request.outlet
        seconds = header.seconds(outlet.peer, outlet.local, self.request.head.headers)
        if seconds is not None:
            deadline = self.request.owner.ctx.clock() + seconds
            if deadline < supervision.deadline:
                supervision.end_at(deadline)

    async def enter(self, turnstile: Turnstile) -> bool:
        """Be counted; false when there is no room, and the request has been refused."""
        try:
            has_room = await turnstile.enter()
        except BaseException:  # cancelled while it waited
            self.end()
            raise
        if not has_room:
            self.refuse(PeerError(503, "too many requests in progress", limit="limit_concurrency"))
            self.end()
        return has_room

    def end(self) -> None:
        """The application has ended, or will not begin."""
        raise NotImplementedError

    def _wait_for_end(self) -> Awaitable[None]:
        """Until the answer is finished, the request refused, or the client gone."""
        if self._end_waits is None:
            self._end_waits = self.request.owner.end_waits()
        return self._end_waits.wait()

    def _end_waiting_receives(self) -> None:
        if self._end_waits is not None:
            self._end_waits.wake()

    def finish(self) -> None:
        """End what the request has, but for its application. Does not raise."""
        self.answered = True
        if self._end_waits is not None:
            self._end_waits.wake()
        if self._supervision is not None:
            self._end_supervision()
        ctx = self.request.owner.ctx
        if ctx.turnstile is not None:
            self.request.owner.on_answered()
        if (recorder := ctx.recorder) is not None:
            try:
                recorder.answered(self, perf_counter() - self.request.started)
            except Exception as exc:
                self.request.say_unrecorded(exc)

    def _end_supervision(self) -> None:
        if self._supervision is not None:
            self._supervision.end()
            self._supervision = None

    def _wait_after_answer(self) -> None:
        """The application waits, and nobody should have to wait for it."""
        if not self._goes_on:
            self._goes_on = self.request.owner.let_go_on()

    # What ends a request before its time.

    def refuse(self, error: PeerError) -> None:
        """The request cannot be completed: the application sees a disconnect, the client gets ``error`` if it can."""
        self.refusal = error.with_traceback(None)  # which may know us: a cycle
        self.left_first = self.request.outlet.lost and not self.end_reason
        if self.unanswered and self.request.head.method != "HEAD" and not self.left_first:
            self.response.body_bytes = len(error_body(error.reason))  # which the owner will send
        self._stopped = True
        self.request.owner.ctx.lifetime.strike(error.limit)
        if error.end_reason:
            self.request.say_end(error.end_reason)
        self._end_waiting_receives()

    def time_out(self, reason: str) -> None:
        """The application takes longer than it may."""
        self._break_off(PeerError(504, "the application took too long"), reason)

    def cancel(self, reason: str) -> None:
        """The application itself wants the end of its request."""
        if self.in_progress and not self.end_reason:
            self._break_off(PeerError(503, "the application has ended the request"), reason)

    def shield(self) -> AbstractContextManager[None]:
        """A block of the application's that the end of the request does not reach."""
        return self.request.owner.ctx.lifetime.shields.shield()

    def _break_off(self, refusal: PeerError, reason: str) -> None:
        """End the application. The client gets ``refusal`` if it has nothing yet."""
        if self.unanswered:
            self.refuse(refusal)
        self.request.owner.cancel(reason)

    @property
    def deadline(self) -> float:
        """When the request's time is over, on the clock; ``math.inf`` if it never is."""
        return math.inf if self._supervision is None else self._supervision.deadline

    @deadline.setter
    def deadline(self, deadline: float) -> None:
        if self.in_progress:
            self._supervise().end_at(deadline)

    # What the owner, the supervision and the log ask.

    @property
    def in_progress(self) -> bool:
        """The client is still waiting for something."""
        return not self.answered

    @property
    def complete(self) -> bool:
        """The client gets the whole answer."""
        return self.response.state == COMPLETE

    @property
    def unanswered(self) -> bool:
        """Nothing of a final response has been sent, so there is room for another one."""
        return self.response.state <= FIRST_BODY

    @property
    def cut_is_visible(self) -> bool:
        """A client that sees the end of the stream knows that the answer was not complete."""
        return self.response.cut_is_visible

    @property
    def knows_of_end(self) -> bool:
        """The application is listening for the client's leaving, or has been told."""
        return self._stopped or bool(self._end_waits)

    @property
    def final_status(self) -> int:
        """What the client gets to see; 0 when it got nothing."""
        if not self.unanswered:
            return self.response.status
        return self.refusal.status if self.refusal is not None and not self.left_first else 0

    @property
    def request_body_bytes(self) -> int:
        """How much of its body has come; over HTTP/1.1, how much the application has taken."""
        return 0

    @property
    def head(self) -> RequestHead:
        return self.request.head

    @property
    def client(self) -> Address | None:
        return self.request.client

    @property
    def peer(self) -> Address | None:
        return self.request.outlet.peer

    @property
    def context(self) -> Context | None:
        return self.request.context

    @property
    def client_left(self) -> bool:
        raise NotImplementedError

    @property
    def is_open(self) -> bool:
        return False

    @property
    def end_reason(self) -> str:
        return self.request.end_reason

    def request_id(self) -> str | None:
        return self.request.id()

    def trace(self) -> tuple[str, str] | None:
        return self.request.trace()

    # What whoever looks at the tree, or counts, asks.

    @property
    def messages(self) -> MessageCounts | None:
        return None

    def look(
        self, kind: Literal["request", "stream"], detail: str = "", cancel: Callable[[str], None] | None = None
    ) -> RequestLook:
        """It as it stands; the owner says how it is called, and how it can be cancelled."""
        return RequestLook(
            kind=kind,
            request=self.request,
            in_progress=self.in_progress,
            detail=detail,
            awaited=self._awaited(),
            traffic=self._traffic(),
            cancel=cancel,
        )

    def _awaited(self) -> Awaited | None:
        """The end of its time: that of the option, or one of its own."""
        supervision = self._supervision
        if supervision is None or supervision.deadline == math.inf:
            return None
        return awaited(self.request.owner.ctx.timeouts.request, supervision) or Awaited(
            "deadline", supervision.deadline)

    def _traffic(self) -> tuple[int, int] | None:
        """Bytes received and sent, ``None`` when they are not known any more."""
        raise NotImplementedError
