"""What the log says of timeouts, and a client that sends byte by byte."""

import re
from collections.abc import Iterable

import anyio
import pytest

from trioserve import ClientDisconnected
from trioserve._streams.memory import MemoryClient

__all__ = ["drip", "reasons"]


def reasons(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What ended connections and requests, in order."""
    return re.findall(r"^\S+ +trioserve:\S+ ([a-z-]+): ", caplog.text, re.MULTILINE)


async def drip(client: MemoryClient, data: Iterable[bytes], seconds: float) -> None:
    """Send a piece each ``seconds``, until there is nobody to send to."""
    try:
        for piece in data:
            await client.send_all(piece)
            await anyio.sleep(seconds)
    except ClientDisconnected:
        pass
