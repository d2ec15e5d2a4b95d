"""What looks after a request from outside while the application runs: its timeout, its client, its server's end."""

from typing import Final, Protocol

import anyio

from trioserve._connection.channel import Outlet, Owner

__all__ = ["Supervised", "Supervision"]

GRACE_SECONDS: Final = 0.5  # for an application to end its event stream by itself, when the server stops


class Supervised(Protocol):
    """A request, while it is in progress.

    Attributes:
        knows_of_end: the application is listening, or has been told that its client has left.
    """

    @property
    def knows_of_end(self) -> bool: ...

    def time_out(self, reason: str) -> None:
        """The application takes longer than it may; ``reason`` is for the log."""


class Supervision:
    """Of one request, until ``end``.

    Attributes:
        watches: somebody looks whether the client is still there, or is going to.
    """

    __slots__ = ("_has_ended", "_is_ending", "_outlet", "_owner", "_request", "_watch", "watches")

    def __init__(self, request: Supervised, outlet: Outlet, owner: Owner) -> None:
        self._request = request
        self._outlet = outlet
        self._owner = owner
        self._watch: anyio.CancelScope | None = None
        self.watches = False
        self._is_ending = False
        self._has_ended = False

    def limit_time(self) -> None:
        """Let ``timeout_request`` run, or begin anew, in the place of any deadline; after the end, do nothing."""
        timeout = self._owner.ctx.timeouts.request
        if timeout is not None and not self._has_ended:
            self._forget_deadline()
            timeout.arm(self)

    def end_at(self, deadline: float) -> None:
        """Let the request's time be over at this moment of the clock, whatever was said before."""
        if not self._has_ended:
            self._forget_deadline()
            self._owner.ctx.timeouts.deadline.set(self, deadline)

    @property
    def deadline(self) -> float:
        """When the request's time is over, on the clock; ``math.inf`` if it never is."""
        timeouts = self._owner.ctx.timeouts
        own = timeouts.deadline.of(self)
        return own if timeouts.request is None else min(own, timeouts.request.moment_of(self))

    def _forget_deadline(self) -> None:
        timeouts = self._owner.ctx.timeouts
        timeouts.deadline.forget(self)
        if timeouts.request is not None:
            timeouts.request.disarm(self)

    def watch_soon(self) -> None:
        """If the request lasts, see to it that the client is still there. Short ones are over before that."""
        if not self.watches:
            self.watches = True
            if (timeout := self._owner.ctx.timeouts.watch) is not None:
                timeout.arm(self)

    def end_endless(self) -> None:
        """The server stops, and the response has no end of its own. May be called again."""
        ctx = self._owner.ctx
        if ctx.on_disconnect == "notify" or self._is_ending:
            return
        self._stop_watching()
        self._is_ending = self.watches = True
        self._owner.start_child(self._end_soon)

    def end(self) -> None:
        """The request has ended. May be called again."""
        self._has_ended = True
        self._forget_deadline()
        self._stop_watching()

    def _stop_watching(self) -> None:
        timeout = self._owner.ctx.timeouts.watch
        if timeout is not None:
            timeout.disarm(self)
        if self._watch is not None:
            self._watch.cancel()

    def on_timeout(self, kind: str) -> None:
        """The request has run for a while, or too long."""
        if kind == "request":
            self._owner.ctx.lifetime.strike("timeout_request")
            self._request.time_out("request-timeout")
        elif kind == "deadline":
            self._request.time_out("deadline")
        else:
            self._owner.start_watch(self._watch_client)

    async def _watch_client(self) -> None:
        if self._has_ended or self._is_ending:  # before this task has begun
            return
        with anyio.CancelScope() as self._watch:
            await self._outlet.wait_disconnected()
            ctx = self._owner.ctx
            if ctx.disconnect_grace_seconds:  # for the application to find out by itself
                await anyio.sleep(ctx.disconnect_grace_seconds)
            if ctx.on_disconnect == "auto" and self._request.knows_of_end:
                return
            if not self._has_ended:
                self._owner.cancel("client-disconnect")

    async def _end_soon(self) -> None:
        if self._has_ended:
            return
        with anyio.CancelScope() as self._watch:
            await anyio.sleep(GRACE_SECONDS)
            if not self._request.knows_of_end and not self._has_ended:
                self._owner.cancel("shutdown")
