"""The boundary of our own bugs: what a connection's task raises ends that connection, and no other."""

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from trioserve._complaints import complain
from trioserve._errors import ClientDisconnected
from trioserve._streams import ByteStream

__all__ = ["guarded", "report_bug"]

log = logging.getLogger("trioserve")


def report_bug(stream: ByteStream, bug: Exception) -> None:
    """Say in the log what ends the connection. Does not raise."""
    complain(log, "Internal error on the connection of %s", stream.peer, exc_info=bug)


async def guarded(child: Coroutine[Any, Any, None], stream: ByteStream, break_off: Callable[[], None]) -> None:
    """See a task of the connection of ``stream`` through that does not hold it; its bug calls ``break_off``.

    That the client has gone is no bug, and no news for whoever holds the connection.
    """
    try:
        await child
    except ClientDisconnected:
        pass
    except Exception as exc:
        report_bug(stream, exc)
        break_off()
