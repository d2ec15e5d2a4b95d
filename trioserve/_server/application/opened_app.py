"""An application that an async context manager yields: the manager is its lifespan, and surrounds all requests.

To the server this is an application with a lifespan (ASGI lifespan 2.0). The manager is entered at the start-up and
left at the shutdown, in one task. A lifespan that the application has itself runs inside, in the same task.
"""

import logging
from collections.abc import Callable
from typing import Any, Literal

import anyio

from trioserve._asgi import type_of
from trioserve._complaints import complain
from trioserve._errors import AppNotFound, StartupFailed, TrioserveError
from trioserve._server.application.openers import open_with
from trioserve._types import AnyApp, App, Message, Receive, Scope, Send

__all__ = ["OpenedApp"]

log = logging.getLogger("trioserve")


class OpenedApp:
    """Called once, for the lifespan.

    Args:
        opener: see ``is_opener``.
        prepare: makes of what is yielded what is served; raises AppNotFound.
        lifespan: whether a lifespan inside is run, as the option says.

    Attributes:
        app: who gets the requests, once it has been yielded.
    """

    app: App

    def __init__(self, opener: Any, prepare: Callable[[AnyApp], App], lifespan: Literal["auto", "on", "off"]) -> None:
        self._opener = opener
        self._prepare = prepare
        self._lifespan = lifespan

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Enter the manager, say that the application has started, wait for the shutdown, leave the manager.

        What the manager raises passes through. If there is no application for other reasons the manager is left first,
        as without an error: its resources are closed in the ordinary way.
        """
        await receive()
        inside = LifespanInside(scope, receive, send)
        problem: TrioserveError | None = None
        async with open_with(self._opener) as yielded:
            try:
                self.app = self._prepare(yielded)
            except AppNotFound as exc:
                problem = exc
            else:
                problem = await inside.run(self.app, self._lifespan)
        if problem is not None:
            raise problem
        if inside.last_word is None:
            raise RuntimeError("the application's context manager ended by itself")
        await send(inside.last_word)


class LifespanInside:
    """The lifespan of the application that was yielded; where it has none, what the protocol asks for.

    Attributes:
        last_word: how the lifespan has ended. It is for the server, but the manager is left first.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive_outside = receive
        self._send_outside = send
        self._has_asked = False
        self._has_started = False
        self._has_to_stop = False  # which is told once
        self._running = anyio.CancelScope()
        self.last_word: Message | None = None

    async def run(self, app: App, mode: Literal["auto", "on", "off"]) -> StartupFailed | None:
        """From the start-up until it is time to leave the manager; returns why the server must not start."""
        if mode != "off":
            await self._run_app(app, required=mode == "on")
        if self.last_word is None and not self._has_started:
            if mode == "on":
                return StartupFailed("the application's lifespan returned without startup.complete")
            await self._send_outside({"type": "lifespan.startup.complete"})
        if self.last_word is None:
            if not self._has_to_stop:
                await self._receive_outside()
            self.last_word = {"type": "lifespan.shutdown.complete"}
        return None

    async def _run_app(self, app: App, *, required: bool) -> None:
        try:
            with self._running:
                await app(self._scope, self._receive, self._send)
        except Exception as exc:
            if self.last_word is not None and self.last_word["type"] == "lifespan.startup.failed":
                return  # one report is enough
            if self._has_asked or required:
                raise
            complain(log, "The application has no lifespan (%s)", type(exc).__name__, level=logging.INFO)

    async def _receive(self) -> Message:
        if not self._has_asked:
            self._has_asked = True
            return {"type": "lifespan.startup"}
        message = await self._receive_outside()
        self._has_to_stop = True
        return message

    async def _send(self, message: Message) -> None:
        if type_of(message) in ("lifespan.startup.failed", "lifespan.shutdown.complete", "lifespan.shutdown.failed"):
            self.last_word = message
            self._running.cancel()  # it may go on, or wait for ever
            return
        await self._send_outside(message)  # it knows which other messages there are
        self._has_started = True
