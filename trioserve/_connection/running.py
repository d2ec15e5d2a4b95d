"""Runs the application for one request, inline, and keeps what it raises from going further."""

from logging import CRITICAL, ERROR
from typing import Protocol

from trioserve._connection.inline import continue_inline, orders_and_errors
from trioserve._connection.request import Request
from trioserve._errors import application_errors
from trioserve._hints import backend_hint
from trioserve._types import Message, Scope

__all__ = ["Conversation", "run_app"]


class Conversation(Protocol):
    """An application's side of one request: an exchange, or a WebSocket.

    Attributes:
        request: who asks for what.
        answered: the request has its answer, whatever the application still does.
    """

    request: Request
    answered: bool

    def new_scope(self) -> Scope: ...
    async def receive(self) -> Message: ...
    async def send(self, message: Message) -> None: ...
    def on_suspend(self) -> None: ...
    def on_resume(self) -> None: ...

    async def on_return(self) -> None:
        """The application has returned before the conversation was finished."""

    @property
    def client_left(self) -> bool:
        """So sending was bound to fail."""

    def give_up(self) -> None:
        """The application has failed: tell the client, as far as that is possible."""

    def end(self) -> None:
        """The application has ended, in whatever way. Does not raise."""


async def run_app(conversation: Conversation) -> None:
    """Call the application and see the conversation through.

    What the application raises ends here, but for orders to stop: Ctrl-C, and cancellation.
    """
    request = conversation.request
    ctx = request.owner.ctx
    try:
        request.coro = coro = ctx.app(conversation.new_scope(), conversation.receive, conversation.send)
        request.context = context = ctx.new_app_context()
        if ctx.set_mark is not None:
            context.run(ctx.set_mark, (request.started, request.head))
        try:
            trap = context.run(coro.send, None)
        except StopIteration:
            pass  # it never waited
        else:
            await continue_inline(coro, trap, context, conversation)
        finally:
            request.app_runs = False
        if not conversation.answered:
            await conversation.on_return()
    except Exception as exc:
        _on_error(conversation, exc)
    except BaseException as exc:
        order, error = orders_and_errors(exc, cancelled=request.owner.is_cancelled)
        try:
            if error is not None:
                _on_error(conversation, error)
            if isinstance(order, KeyboardInterrupt):
                request.end_reason = request.end_reason or "keyboard-interrupt"
                request.say(CRITICAL, "KeyboardInterrupt in the application, serving %s; the server stops",
                            request.line)
            if order is not None:
                raise order from None
        finally:
            del order, error  # their tracebacks know this frame: a cycle
    finally:
        conversation.end()


def _on_error(conversation: Conversation, raised: BaseException) -> None:
    """Say what the application has raised, unless it is only that its client has left."""
    request = conversation.request
    error = application_errors(raised, client_left=conversation.client_left)
    if error is None:
        return
    request.say(ERROR, "Exception in the application, serving %s", request.line, error=error)
    hint = backend_hint(error, request.owner.ctx.backend)
    if hint is not None:
        request.say(ERROR, hint)
    conversation.give_up()
