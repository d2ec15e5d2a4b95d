"""Every ASGI message as a line of the log, for whoever wants to see what a server and an application say to each other.

The application is wrapped once, when the server is made, and only if the logger ``trioserve.asgi`` is at level TRACE.
Otherwise nothing is wrapped, and no message passes through anything here.

A line is indented by connection and request. An arrow gives the direction: ``->`` to the application, ``<-`` from it.
"""

from functools import update_wrapper
from time import perf_counter

from trioserve._server.trace.calls import listened_to
from trioserve._server.trace.level import TRACE, log
from trioserve._server.trace.shown import shown_client, shown_error, shown_fields, shown_message, shown_request
from trioserve._server.trace.transcript import Transcript
from trioserve._types import App, Message, Receive, Scope, Send

__all__ = ["name_of_request", "with_lines"]


def with_lines(app: App) -> App:
    """What calls ``app`` and logs its messages."""
    transcript = Transcript(log, TRACE)

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        await listened_to(MessageLines(scope, transcript), app, scope, receive, send)

    return update_wrapper(call, app, assigned=(), updated=())


def name_of_request(scope: Scope) -> str | None:
    """What its log lines are known by; ``None`` when requests have no names."""
    named = scope["extensions"].get("trioserve.request_id")
    return None if named is None else named["get"]()


class MessageLines:
    """The lines of one call."""

    def __init__(self, scope: Scope, transcript: Transcript) -> None:
        self._scope = scope
        self._transcript = transcript
        self._began = perf_counter()
        self._request_id: str | None = None
        if scope["type"] == "lifespan":
            self._heading, self._depth = "lifespan", 1
        else:
            self._heading, self._depth = shown_client(scope), 2
            self._request_id = name_of_request(scope)

    def begins(self) -> None:
        if self._depth == 2:
            line = f"{shown_request(self._scope)} headers={shown_fields(self._scope['headers'])}"
            self._say(line, of_request=True)

    def received(self, message: Message) -> None:
        self._say(f"-> {shown_message(message)}")

    def sends(self, message: Message) -> None:
        self._say(f"<- {shown_message(message)}")

    def send_failed(self, exc: Exception) -> None:
        self._say(f"   send() raised {shown_error(exc)}")

    def ends(self, error: BaseException | None, *, cancelled: bool) -> None:
        how = "was cancelled" if cancelled else "returned" if error is None else f"raised {shown_error(error)}"
        self._say(f"{how} after {(perf_counter() - self._began) * 1000:.1f} ms", of_request=True)

    def _say(self, text: str, *, of_request: bool = False) -> None:
        depth = 1 if of_request else self._depth
        self._transcript.write(self._heading, text, depth, self._request_id)
