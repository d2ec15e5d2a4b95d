"""Applications that wait, alone or with tasks of their own, and a request that brings a server to rest with them."""

from typing import Any

import anyio

from tests.helpers.serving import Site
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled

__all__ = ["FILE", "MODULE", "ask", "ask_bank", "ask_shop", "hang", "with_children"]

MODULE, FILE = __name__, __file__  # of these tasks, as a tree names them


async def ask_bank() -> None:
    await anyio.sleep(100)


async def ask_shop() -> None:
    with anyio.move_on_after(50):
        await anyio.sleep(100)


async def hang(scope: Scope, receive: Receive, send: Send) -> None:
    await anyio.sleep_forever()


async def with_children(scope: Scope, receive: Receive, send: Send) -> None:
    async with anyio.create_task_group() as asking:
        asking.start_soon(ask_bank)
        asking.start_soon(ask_shop)


async def ask(site: Site, request: bytes) -> Any:
    """Send a request on a new connection, and let everything come to rest."""
    client = site.connect()
    await client.send_all(request)
    await settled()
    return client
