"""The application as a check sees it: its messages against the specification, its lifespan against swallowed errors."""

import linecache
import sys
from collections.abc import Iterator

import anyio

from trioserve._asgi import ResponseWatch, WebSocketWatch
from trioserve._check.swallowed_errors import SwallowedErrors
from trioserve._errors import AppError, ClientDisconnected, application_errors
from trioserve._trial import Finding, drive, place_of_error, place_of_frame, steps_of_error, unless_deaf
from trioserve._types import App, Message, Receive, Scope, Send

__all__ = ["Observed"]


class Observed:
    """Calls the application that it is put around, and remembers what was wrong.

    Attributes:
        error: what the last request has raised, while its client was there as far as it knew.
        ended: set when the last request has ended.
        lifespan_error: what the lifespan has raised.
    """

    _app: App

    def __init__(self) -> None:
        self._findings: list[Finding] = []
        self._request = ""
        self.error: BaseException | None = None
        self.ended = anyio.Event()
        self.lifespan_error: BaseException | None = None

    def around(self, app: App) -> App:
        self._app = app
        return self

    def begin(self, request: str) -> None:
        """What comes now belongs to that request."""
        self._request = request
        self.error = None
        self.ended = anyio.Event()

    def findings(self) -> list[Finding]:
        return self._findings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        ended, was_told = self.ended, False

        async def watched_receive() -> Message:
            nonlocal was_told
            message = await receive()
            was_told = was_told or message["type"].endswith(".disconnect")
            return message

        try:
            await self._conversation(scope, watched_receive, send)
        except Exception as exc:
            if not was_told and ended is self.ended:  # else its client has left, and the next one has come
                self.error = application_errors(exc, client_left=False)
            raise
        finally:
            ended.set()

    # A request, or a WebSocket.

    async def _conversation(self, scope: Scope, receive: Receive, send: Send) -> None:
        watch = WebSocketWatch() if scope["type"] == "websocket" else ResponseWatch()
        request = self._request

        def note(text: str) -> None:
            self._note(Finding("asgi", text, place_of_frame(sys._getframe()), request))

        def note_faults(message: Message) -> None:
            faults = [*watch.faults(message)]
            if place_of_frame(sys._getframe()):  # else a library sends by itself what the server takes nevertheless
                for fault in faults:
                    note(f"it sends {fault}")

        async def watched_send(message: Message) -> None:
            try:
                await send(message)
            except AppError as exc:
                note(str(exc))
                raise
            except ClientDisconnected:
                if scope["type"] == "websocket":
                    note_faults(message)  # it may be the application that has ended this
                raise
            note_faults(message)

        await self._app(
            scope, unless_deaf(receive, lambda finding: self._note(finding.at(request=request))), watched_send)
        if not watch.complete:
            note(f"it returns before {watch.missing}")

    def _note(self, finding: Finding) -> None:
        if finding not in self._findings:
            self._findings.append(finding)

    # The lifespan.

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked, answered = False, False

        async def watched_receive() -> Message:
            nonlocal asked
            asked = True
            return await receive()

        async def watched_send(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        async def call() -> None:
            await self._app(scope, watched_receive, watched_send)

        onlooker = SwallowedErrors()
        try:
            await drive(call(), onlooker)
        except BaseException as exc:
            self.lifespan_error = exc
            raise
        finally:
            onlooker.on_suspend()
            self._findings += onlooker.findings(self.lifespan_error)
            self._findings += _of_the_end(self.lifespan_error, asked, answered)


def _of_the_end(error: BaseException | None, asked: bool, answered: bool) -> Iterator[Finding]:
    if error is None and asked and not answered:
        yield Finding("lifespan", "it asks for lifespan.startup and returns without an answer: nothing of its start-up "
                                  "may have run")
    if isinstance(error, Exception) and not asked and not _is_on_purpose(error):
        yield Finding(
            "lifespan", f"called for its lifespan, it fails by accident: {type(error).__name__}: {error}. The server "
                        "goes on without a lifespan", place_of_error(error))


def _is_on_purpose(error: Exception) -> bool:
    """Raised by a statement that says so: that is how an application says that it has no lifespan."""
    code, line = steps_of_error(error)[-1]
    return linecache.getline(code.co_filename, line).strip().startswith(("raise", "assert"))
