"""An async context manager whose application has a lifespan of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from tests.helpers.apps import reply
from tests.helpers.lifespans import (
    COMPLETE,
    STOPPED,
    LifespanApp,
    fails,
    fails_and_raises,
    fails_and_waits,
    with_lifespan,
)
from tests.helpers.openers import Opened, start, user
from tests.helpers.serving import serving
from tests.helpers.transcripts import body_of, get, ok
from trioserve import StartupFailed
from trioserve._types import App, Receive, Scope, Send
from trioserve.testing import seconds_passed


async def test_a_lifespan_of_the_application_runs_inside() -> None:
    opened = Opened()
    opened.app = app = LifespanApp()
    app.events = opened.events
    async with serving(opened.open, lifespan="auto") as site:
        await site.answer_to(get())
    assert opened.events == [
        "entered", "startup", "started", "request /", "end of /", "shutdown", "stopped", "left"]


async def test_what_the_lifespan_inside_sets_is_seen_too() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            assert {"trioserve.tasks", "trioserve.shutdown"} == scope["extensions"].keys()
            scope["state"]["pool"] = "of the lifespan"
            user.set(f"{user.get()}, of the lifespan")
            assert (await receive())["type"] == "lifespan.startup"
            await send(COMPLETE)
            assert (await receive())["type"] == "lifespan.shutdown"
            return await send(STOPPED)
        await reply(send, f"{scope['state']['pool']}; {user.get()}".encode())

    @asynccontextmanager
    async def open_app() -> AsyncIterator[App]:
        user.set("of the manager")
        yield app

    async with serving(open_app, lifespan="auto") as site:
        assert body_of(await site.answer_to(get())) == b"of the lifespan; of the manager, of the lifespan"


async def test_a_lifespan_inside_is_left_alone_when_it_is_off() -> None:
    app = LifespanApp()
    opened = Opened(app)
    async with serving(opened.open, lifespan="off"):
        pass
    assert (app.events, opened.events) == ([], ["entered", "left"])


async def raises_before_it_asks(receive: Receive, send: Send) -> None:
    raise NotImplementedError("only http here")


async def returns(receive: Receive, send: Send) -> None: ...


async def returns_started(receive: Receive, send: Send) -> None:
    await receive()
    await send(COMPLETE)


@pytest.mark.parametrize("inside", [raises_before_it_asks, returns, returns_started])
async def test_a_lifespan_inside_that_is_none(inside: Any, caplog: pytest.LogCaptureFixture) -> None:
    opened = Opened(with_lifespan(inside))
    async with serving(opened.open, lifespan="auto") as site:
        await anyio.sleep(60)
        assert await site.answer_to(get()) == ok(b"/")
        assert opened.events == ["entered"]
    assert opened.events == ["entered", "left"]
    assert not caplog.records


@pytest.mark.parametrize("inside", [raises_before_it_asks, returns])
async def test_a_lifespan_inside_is_required(inside: Any) -> None:
    opened = Opened(with_lifespan(inside))
    with pytest.raises(StartupFailed):
        await start(opened.open, lifespan="on")
    assert opened.events[-1] == "left"


@pytest.mark.parametrize("inside", [fails, fails_and_raises, fails_and_waits])
async def test_a_start_inside_that_fails_leaves_the_manager_in_the_ordinary_way(
    inside: Any, caplog: pytest.LogCaptureFixture
) -> None:
    opened = Opened(with_lifespan(inside), leave_seconds=3)
    with seconds_passed() as elapsed, pytest.raises(StartupFailed, match="no database"):
        await start(opened.open)
    assert opened.events == ["entered", "left"]
    assert elapsed.seconds == 3
    assert not caplog.records


async def test_a_shutdown_inside_that_does_not_return() -> None:
    async def inside(receive: Receive, send: Send) -> None:
        await returns_started(receive, send)
        await receive()
        await send(STOPPED)
        await anyio.sleep_forever()

    opened = Opened(with_lifespan(inside))
    with seconds_passed() as elapsed:
        async with serving(opened.open, lifespan="on"):
            pass
    assert opened.events == ["entered", "left"]
    assert elapsed.seconds == 0


async def test_a_shutdown_inside_without_a_last_word() -> None:
    async def inside(receive: Receive, send: Send) -> None:
        await returns_started(receive, send)
        await receive()

    opened = Opened(with_lifespan(inside))
    with seconds_passed() as elapsed:
        async with serving(opened.open, lifespan="on"):
            pass
    assert opened.events == ["entered", "left"]
    assert elapsed.seconds == 0


async def test_a_shutdown_inside_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    async def inside(receive: Receive, send: Send) -> None:
        await returns_started(receive, send)
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "disk full"})

    opened = Opened(with_lifespan(inside))
    async with serving(opened.open, lifespan="on"):
        pass
    assert opened.events == ["entered", "left"]
    assert caplog.messages == ["The application failed to shut down: disk full"]
