"""The ways in which a client leaves, and what its application is told."""

import pytest

from trioserve._streams.memory import MemoryClient

__all__ = ["DISCONNECT", "LEAVE"]

DISCONNECT = {"type": "http.disconnect"}


async def leave_by_eof(client: MemoryClient) -> None:
    client.send_eof()


async def leave_by_close(client: MemoryClient) -> None:
    await client.aclose()


async def leave_by_reset(client: MemoryClient) -> None:
    client.abort()


LEAVE = pytest.mark.parametrize("leave", [leave_by_eof, leave_by_close, leave_by_reset])
