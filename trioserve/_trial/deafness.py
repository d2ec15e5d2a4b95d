"""Applications that go on receiving when there is nothing more to receive."""

import sys
from collections.abc import Callable
from typing import Final

import anyio

from trioserve._errors import ClientDisconnected
from trioserve._trial.findings import Finding
from trioserve._trial.places import place_of_frame
from trioserve._types import Message, Receive

__all__ = ["unless_deaf"]

LAST_WORDS: Final = ("http.disconnect", "websocket.disconnect")
DEAF_AFTER: Final = 100  # of them; a few tasks of one application may each receive one


def unless_deaf(receive: Receive, note: Callable[[Finding], None]) -> Receive:
    """``receive`` for an application; one that never stops receiving is noted, and stopped.

    Its loop may be one that awaits nothing else, and so would keep the event loop for ever.
    """
    last_words = 0

    async def receive_as_long_as_it_makes_sense() -> Message:
        nonlocal last_words
        message = await receive()
        if message["type"] not in LAST_WORDS:
            return message
        last_words += 1
        if last_words == DEAF_AFTER:
            note(Finding("endless", f"it goes on receiving after {message['type']}: its loop would never have ended",
                         place_of_frame(sys._getframe())))
            raise ClientDisconnected("the client has left, and the application was told so")
        if last_words > DEAF_AFTER:  # it has caught that as well
            await anyio.sleep_forever()
        return message

    return receive_as_long_as_it_makes_sense
