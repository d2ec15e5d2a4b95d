"""The boundary of our own bugs: what a connection's task raises ends that connection, and no other."""

import logging
from collections.abc import Callable

from trioserve._complaints import complain
from trioserve._errors import ClientDisconnected
from trioserve._streams import ByteStream, TaskFunction

__all__ = ["guarded", "report_bug"]

log = logging.getLogger("trioserve")


def report_bug(stream: ByteStream, bug: Exception) -> None:
    """Say in the log what ends the connection. Does not raise."""
    complain(log, "Internal error on the connection of %s", stream.peer, exc_info=bug)


def guarded(function: TaskFunction, stream: ByteStream, break_off: Callable[[], None]) -> TaskFunction:
    """``function`` for a task of the connection of ``stream`` that does not hold it; its bug calls ``break_off``.

    That the client has gone is no bug, and no news for whoever holds the connection. The task is known by the name of
    ``function``.
    """

    async def run(*args: object) -> None:
        try:
            await function(*args)
        except ClientDisconnected:
            pass
        except Exception as exc:
            report_bug(stream, exc)
            break_off()

    run.__module__, run.__qualname__ = function.__module__, function.__qualname__
    return run
