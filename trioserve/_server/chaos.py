"""Strikes at requests while an application is developed: what breaks then would break some day by itself.

A seed decides for each request, by its line and by how often that has come: the same requests are struck at the same
points again, whatever comes between them. What is found names its point, which can be given in place of the seed.
"""

import logging
import random
from collections import Counter
from collections.abc import Callable
from typing import Final

from trioserve._complaints import complain
from trioserve._errors import ClientDisconnected
from trioserve._points import Point, random_point, seed_or_point
from trioserve._trial import Call
from trioserve._types import App, Message, Receive, Scope, Send

__all__ = ["under_chaos"]

STRUCK_PART: Final = 0.5  # of all requests

log = logging.getLogger("trioserve")


def under_chaos(app: App, text: str, stop: Callable[[str], None]) -> App:
    """``app``, struck as the seed or the point ``text`` says; ``stop`` stops the server, with a reason."""
    chaos = Chaos(seed_or_point(text))
    complain(log, "CHAOS, %s: requests are cancelled, left, held up and slowed down on purpose. Not for production",
             chaos.described, level=logging.WARNING)

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
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
        """Call ``app``, struck or not. A client that is made to leave is still there, and gets no answer."""
        line = f"{scope.get('method', 'websocket')} {scope['path']}"
        point = self._choose(line)
        left = False

        def strike() -> None:
            nonlocal left
            if point is not None and point.kind == "shutdown":
                stop("chaos")
            else:
                left = True

        async def receive_or_leave() -> Message:
            return _disconnect(scope) if left else await receive()

        async def send_or_leave(message: Message) -> None:
            if left:
                raise ClientDisconnected("chaos: the client has left")
            await send(message)

        call = Call(point, strike)
        try:
            await call.run(app, scope, receive_or_leave, send_or_leave)
        finally:
            if call.struck.is_set():
                complain(log, "chaos: %s was struck at %s", line, point, level=logging.WARNING)
            for finding in call.findings:
                complain(log, "chaos: %s. %s See it again with --chaos %s",
                         finding.at(request=line, point=str(point)), finding.advice, point)

    def _choose(self, line: str) -> Point | None:
        if isinstance(self._source, Point):
            return self._source
        self._times[line] += 1
        rng = random.Random(f"{self._source} {line} {self._times[line]}")
        return random_point(rng) if rng.random() < STRUCK_PART else None


def _disconnect(scope: Scope) -> Message:
    if scope["type"] == "websocket":
        return {"type": "websocket.disconnect", "code": 1006, "reason": ""}
    return {"type": "http.disconnect"}
