"""One call of the application, whose messages somebody is told of, in both directions."""

from typing import Protocol

import anyio

from trioserve._types import App, Message, Receive, Scope, Send

__all__ = ["Listener", "listened_to"]


class Listener(Protocol):
    """Hears of one call of the application: its lifespan, a request or a WebSocket."""

    def begins(self) -> None: ...
    def received(self, message: Message) -> None:
        """The application has got it."""

    def sends(self, message: Message) -> None:
        """The application hands it over; it may be no message at all."""

    def send_failed(self, exc: Exception) -> None: ...

    def ends(self, error: BaseException | None, *, cancelled: bool) -> None:
        """The application has returned, raised ``error``, or was cancelled."""


async def listened_to(listener: Listener, app: App, scope: Scope, receive: Receive, send: Send) -> None:
    """Call ``app``; what it raises is raised here, too."""

    async def heard_receive() -> Message:
        message = await receive()
        listener.received(message)
        return message

    async def heard_send(message: Message) -> None:
        listener.sends(message)
        try:
            await send(message)
        except Exception as exc:
            listener.send_failed(exc)
            raise

    listener.begins()
    try:
        await app(scope, heard_receive, heard_send)
    except anyio.get_cancelled_exc_class():
        listener.ends(None, cancelled=True)
        raise
    except BaseException as exc:
        listener.ends(exc, cancelled=False)
        raise
    listener.ends(None, cancelled=False)
