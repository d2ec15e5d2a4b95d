"""Strikes at requests while an application is developed: what breaks then would break some day by itself.

A seed decides for each request, by its line and by how often that has come: the same requests are struck at the same
points again, whatever comes between them. What is found names its point, which can be given in place of the seed.
"""

import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import anyio

from trioserve._complaints import complain
from trioserve._errors import ClientDisconnected, application_errors
from trioserve._points import Point, random_point, seed_or_point
from trioserve._protocol.websocket.codec import ABNORMAL
from trioserve._trial import Call, Finding, LifespanCall
from trioserve._types import App, Message, Receive, Scope, Send

__all__ = ["under_chaos"]

STRUCK_PART: Final = 0.5  # of all requests
HAS_LEFT: Final = "chaos: the client has left"

log = logging.getLogger("trioserve")


def under_chaos(app: App, text: str, stop: Callable[[str], None]) -> App:
    """``app``, struck as the seed or the point ``text`` says; ``stop`` stops the server, with a reason."""
    chaos = Chaos(seed_or_point(text))
    complain(log, "CHAOS, %s: requests are cancelled, left, held up and slowed down on purpose. Not for production",
             chaos.described, level=logging.WARNING)

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await chaos.run_lifespan(app, scope, receive, send, stop)
        else:
            await chaos.run(app, scope, receive, send, stop)

    return call


class Chaos:
    """Chooses the points, and says what was found at them."""

    def __init__(self, source: int | Point) -> None:
        self._source = source
        self._times: Counter[str] = Counter()
        self.described = f"point {source}" if isinstance(source, Point) else f"seed {source}"

    async def run(self, app: App, scope: Scope, receive: Receive, send: Send, stop: Callable[[str], None]) -> None:
        """Call ``app`` for a request, struck or not. A client that is made to leave is still there in truth."""
        line = f"{scope.get('method', 'WS')} {scope['path']}"
        point = self._choose(line)
        client = DepartingClient(scope, receive, send)

        def strike() -> None:
            if point is not None and point.kind == "shutdown":
                stop("chaos")
            else:
                client.leave()

        call = Call(point, strike)
        try:
            await call.run(app, scope, client.receive, client.send)
        except Exception as exc:  # the server does not know that the client has left, so it is judged here
            if client.has_left and application_errors(exc, client_left=True) is None:
                raise ClientDisconnected(HAS_LEFT) from exc
            raise
        finally:
            _say(line, point if call.struck.is_set() else None, call.findings)

    async def run_lifespan(
        self, app: App, scope: Scope, receive: Receive, send: Send, stop: Callable[[str], None]
    ) -> None:
        """Call ``app`` for its lifespan. When its start-up was struck, the server stops, as after Ctrl-C."""
        point = self._source if isinstance(self._source, Point) else None
        call = LifespanCall(point)
        try:
            await call.run(app, scope, receive, send)
        finally:
            if call.was_struck:
                _say("the lifespan", point, call.findings)
                stop("chaos")

    def _choose(self, line: str) -> Point | None:
        if isinstance(self._source, Point):
            return self._source
        self._times[line] += 1
        rng = random.Random(f"{self._source} {line} {self._times[line]}")
        return random_point(rng) if rng.random() < STRUCK_PART else None


def _say(line: str, struck_at: Point | None, findings: Sequence[Finding]) -> None:
    if struck_at is not None:
        complain(log, "chaos: %s was struck at %s", line, struck_at, level=logging.WARNING)
    point, again = ("", "") if struck_at is None else (str(struck_at), f" See it again with --chaos {struck_at}")
    for finding in findings:
        complain(log, "chaos: %s. %s%s", finding.at(request=line, point=point), finding.advice, again)


class DepartingClient:
    """What the application receives and sends, until the client leaves; then what it would see of one that has left."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._is_websocket = scope["type"] == "websocket"
        self._receive = receive
        self._send = send
        self._waiting: list[anyio.CancelScope] = []  # of the application's tasks that receive
        self.has_left = False

    def leave(self) -> None:
        """Who waits for a message already gets to know it, too."""
        self.has_left = True
        for waiting in self._waiting:
            waiting.cancel()

    async def receive(self) -> Message:
        """ASGI ``receive``."""
        if not self.has_left:
            with anyio.CancelScope() as waiting:
                self._waiting.append(waiting)
                try:
                    return await self._receive()
                finally:
                    self._waiting.remove(waiting)
        if self._is_websocket:
            return {"type": "websocket.disconnect", "code": ABNORMAL, "reason": ""}
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """ASGI ``send``. Raises ClientDisconnected."""
        if self.has_left:
            raise ClientDisconnected(HAS_LEFT)
        await self._send(message)
