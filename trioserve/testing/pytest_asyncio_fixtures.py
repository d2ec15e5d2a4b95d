"""Async fixtures of pytest-asyncio, which runs the two halves of a fixture in two tasks.

A nursery has to be left in the task that opened it. So here a task of its own holds the server.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import pytest_asyncio

if TYPE_CHECKING:
    import httpx

    from trioserve.testing.memory_server import MemoryServer

T = TypeVar("T")


@pytest_asyncio.fixture
async def _trioserve_server_of_asyncio(
    _trioserve_app: Any, _trioserve_options: dict[str, Any]
) -> AsyncIterator["MemoryServer"]:
    from trioserve.testing import open_test_server  # when it is needed

    async with held_by_a_task(open_test_server(_trioserve_app, **_trioserve_options)) as server:
        yield server


@pytest_asyncio.fixture
async def _trioserve_client_of_asyncio(
    _trioserve_server_of_asyncio: "MemoryServer",
) -> AsyncIterator["httpx.AsyncClient"]:
    async with held_by_a_task(_trioserve_server_of_asyncio.client()) as client:
        yield client


@asynccontextmanager
async def held_by_a_task(manager: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
    """``manager``, entered and left in one task; what it raises is raised here."""
    entered: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    may_leave = asyncio.Event()

    async def hold() -> None:
        try:
            async with manager as value:
                entered.set_result(value)
                await may_leave.wait()
        except Exception as exc:
            if entered.done():
                raise
            entered.set_exception(exc)

    holder = asyncio.create_task(hold())
    try:
        yield await entered
    finally:
        may_leave.set()
        await holder
