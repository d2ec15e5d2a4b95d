"""An async context manager as the application: its start-up and its end are those of the server."""

import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from tests.helpers.apps import hello, reply
from tests.helpers.lifespans import LifespanApp, fails, with_lifespan
from tests.helpers.openers import Opened, failure_of, start
from tests.helpers.serving import serving
from tests.helpers.transcripts import body_of, get, receive_response
from trioserve import AppNotFound, Config, LifespanDied, StartupFailed
from trioserve._server import check
from trioserve._streams.memory import MemoryListener
from trioserve._types import App, Receive, Scope, Send
from trioserve.testing import seconds_passed

# -- the start-up ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lifespan", ["auto", "on", "off"])
async def test_an_exception_during_the_startup(lifespan: str, caplog: pytest.LogCaptureFixture) -> None:
    @asynccontextmanager
    async def open_app() -> AsyncIterator[App]:
        async with anyio.create_task_group():
            raise LookupError("no database")
        yield hello

    with pytest.raises(StartupFailed) as failure:
        await start(open_app, lifespan=lifespan)
    assert failure.value.exit_code == 3
    [record] = caplog.records
    assert record.exc_info and "no database" in repr(record.exc_info[1])


async def test_a_startup_has_its_time_and_the_error_says_where_it_waits() -> None:
    @asynccontextmanager
    async def open_app() -> AsyncIterator[App]:
        await anyio.sleep(100)
        yield hello

    with seconds_passed() as elapsed, pytest.raises(StartupFailed) as failure:
        await start(open_app, timeout_startup=20)
    assert re.fullmatch(
        r"the application's lifespan did not start within 20 s \(--timeout-startup\), waiting at "
        r".*test_start_and_end\.py:\d+ \(.*open_app\)", str(failure.value))
    assert elapsed.seconds == 20


@pytest.mark.parametrize(("yielded", "problem"), [(None, "None is not an application"), ("main:app", "the name to")])
async def test_what_is_yielded_is_no_application(
    yielded: object, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    opened = Opened(yielded)
    with pytest.raises(AppNotFound, match=problem):
        await start(opened.open)
    assert opened.events == ["entered", "left"]
    assert not caplog.records


async def test_nothing_is_yielded(caplog: pytest.LogCaptureFixture) -> None:
    async def open_app() -> AsyncIterator[App]:
        if open_app is None:
            yield hello

    with pytest.raises(StartupFailed):
        await start(open_app)
    assert "generator didn't yield" in caplog.text


async def test_a_server_that_stops_during_the_startup() -> None:
    opened = Opened()

    @asynccontextmanager
    async def open_app() -> AsyncIterator[Any]:
        async with opened.open():
            await anyio.sleep(3600)
            yield hello

    with seconds_passed() as elapsed, anyio.move_on_after(5):
        await start(open_app)
    assert elapsed.seconds == 5
    assert opened.events[0] == "entered"


# -- the end ---------------------------------------------------------------------------------------------------------


async def test_a_failure_stops_the_server_gracefully_and_loudly(caplog: pytest.LogCaptureFixture) -> None:
    answered: list[bytes] = []

    @asynccontextmanager
    async def open_app() -> AsyncIterator[App]:
        async with anyio.create_task_group() as nursery:
            nursery.start_soon(fail)
            yield slow

    async def fail() -> None:
        await anyio.sleep(5)
        raise LookupError("connection to the database lost")

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await anyio.sleep(20)
        await reply(send, b"finished")

    async def use(listener: MemoryListener) -> None:
        client = listener.connect()
        await client.send_all(get())
        answered.append(await receive_response(client))

    failure = await failure_of(LifespanDied, open_app, use)
    assert failure.exit_code == 3
    assert body_of(answered[0]) == b"finished"
    [record] = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert record.getMessage() == "The application's lifespan died; the server stops"
    assert record.exc_info and "connection to the database lost" in repr(record.exc_info[1])


async def test_a_failure_goes_through_a_lifespan_inside() -> None:
    app = LifespanApp()

    @asynccontextmanager
    async def open_app() -> AsyncIterator[App]:
        async with anyio.create_task_group() as nursery:
            nursery.start_soon(fail)
            yield app

    async def fail() -> None:
        await anyio.sleep(5)
        raise LookupError

    async def use(listener: MemoryListener) -> None:
        await anyio.sleep(10)

    await failure_of(LifespanDied, open_app, use)
    assert app.events == ["startup", "started", "lifespan cancelled"]


async def test_a_manager_that_ends_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    @asynccontextmanager
    async def open_app() -> AsyncIterator[App]:
        with anyio.move_on_after(5):
            yield hello

    async def use(listener: MemoryListener) -> None:
        await anyio.sleep(10)

    await failure_of(LifespanDied, open_app, use)
    assert "the application's context manager ended by itself" in caplog.text


async def test_a_shutdown_has_the_budget_of_a_lifespan(caplog: pytest.LogCaptureFixture) -> None:
    opened = Opened(leave_seconds=3600)
    with seconds_passed() as elapsed:
        async with serving(opened.open, timeout_graceful_shutdown=30):
            pass
    assert elapsed.seconds == 30
    assert "shutdown-deadline: the application's lifespan" in caplog.text


async def test_an_exception_while_it_is_left(caplog: pytest.LogCaptureFixture) -> None:
    @asynccontextmanager
    async def open_app() -> AsyncIterator[App]:
        yield hello
        raise LookupError("disk full")

    async with serving(open_app):
        pass
    [record] = caplog.records
    assert record.getMessage() == "The application's lifespan failed during shutdown"


# -- a rehearsal -----------------------------------------------------------------------------------------------------


async def test_a_rehearsal() -> None:
    opened = Opened()
    await check(opened.open, Config())
    assert opened.events == ["entered", "left"]


async def test_a_rehearsal_finds_what_is_wrong() -> None:
    with pytest.raises(AppNotFound):
        await check(Opened(None).open, Config())
    with pytest.raises(StartupFailed, match="no database"):
        await check(Opened(with_lifespan(fails)).open, Config())
