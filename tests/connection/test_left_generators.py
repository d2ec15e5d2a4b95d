"""Async generators that an application leaves where they yield, inside of nurseries and scopes. On trio that is deadly.

On asyncio a task that ends in a strange scope costs a line in the log.
"""

import contextlib
import gc
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable

import anyio
import pytest
import trio

from tests.helpers.apps import part, start
from tests.helpers.serving import serving
from tests.helpers.transcripts import get
from trioserve._streams.on_trio.left_generators import _start_closing
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled

pytestmark = pytest.mark.trio

Numbers = AsyncGenerator[bytes, None]

ended: list[str] = []


async def beside(name: str) -> None:
    """A task in the nursery of a generator."""
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.1)
        ended.append(name)


async def numbers() -> Numbers:
    number = 0
    while True:
        yield b"%d" % number
        number += 1


async def in_nursery() -> Numbers:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(beside, "task")
        async for number in numbers():
            yield number


async def in_task_group() -> Numbers:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(beside, "task")
        async for number in numbers():
            yield number


async def in_both() -> Numbers:
    with anyio.move_on_after(1):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(beside, "outer")
            with trio.move_on_after(1):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(beside, "inner")
                    async for number in numbers():
                        yield number


async def wrapped() -> Numbers:
    async for number in in_nursery():
        yield number


async def wrapped_in_a_nursery() -> Numbers:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(beside, "outer")
        async for number in in_nursery():
            yield number


@contextlib.asynccontextmanager
async def helper() -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(beside, "task")
        yield


async def in_context_manager() -> Numbers:
    async with helper():
        async for number in numbers():
            yield number


async def in_time_limit() -> Numbers:
    with trio.fail_after(1):
        async for number in numbers():
            yield number


async def that_waits() -> Numbers:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(beside, "task")
        async for number in numbers():
            await trio.sleep(0.01)
            yield number


async def that_fails() -> Numbers:
    async with trio.open_nursery():
        try:
            yield b"0"
        finally:
            raise ValueError("at the end")


LEFT: list[tuple[Callable[[], Numbers], list[str]]] = [
    (in_nursery, ["task"]), (in_task_group, ["task"]), (in_both, ["inner", "outer"]), (wrapped, ["task"]),
    (wrapped_in_a_nursery, ["outer", "task"]), (in_context_manager, ["task"]), (in_time_limit, []),
    (that_waits, ["task"]),
]
EACH = pytest.mark.parametrize(("make", "tasks"), LEFT, ids=lambda value: getattr(value, "__name__", ""))


async def in_its_own_task(make: Callable[[], Numbers], send: Send) -> None:
    async for number in make():
        await part(send, number)


async def in_a_task_of_its_own(make: Callable[[], Numbers], send: Send) -> None:
    """As a middleware does."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(in_its_own_task, make, send)


@EACH
@pytest.mark.parametrize("ask", [in_its_own_task, in_a_task_of_its_own])
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
async def test_clients_that_leave(
    make: Callable[[], Numbers], tasks: list[str], ask: Callable[[Callable[[], Numbers], Send], object],
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    ended.clear()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        if scope["path"] == "/":
            await ask(make, send)  # type: ignore[misc]
        else:
            await part(send, b"alive", more=False)

    async with serving(app) as site:
        for _ in range(2):
            client = site.connect()
            await client.send_all(get("/"))
            await client.receive_some()
            await client.aclose()
            await trio.sleep(2)
        other = site.connect()
        await other.send_all(get("/other"))
        assert b"alive" in await other.receive_some()
        await other.aclose()
        await settled()
    gc.collect()
    assert sorted(ended) == sorted(2 * tasks)
    assert not [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
async def test_one_that_fails_when_it_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    generator = that_fails()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal generator
        await anext(generator)
        generator = numbers()
        await start(send)
        await part(send, b"alive", more=False)

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get("/"))
        assert b"alive" in await client.receive_some()
        await client.aclose()
        await settled()
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage() == "An async generator that was left has failed"
    assert record.exc_info is not None
    assert "ValueError" in repr(record.exc_info[1])


async def test_when_trio_takes_no_task_any_more_it_closes_the_generator_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the end of the main task and the last generators."""
    def refuse(*args: object, **options: object) -> None:
        raise RuntimeError("Nursery is closed to new arrivals")

    monkeypatch.setattr(trio.lowlevel, "spawn_system_task", refuse)
    told: list[Numbers] = []
    generator = numbers()
    _start_closing(generator, [], told.append)
    assert told == [generator]
