"""An async context manager as the application: it surrounds all requests, and its end is that of the server."""

import contextvars
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from tests.helpers.apps import hello, reply
from tests.helpers.lifespans import COMPLETE, STOPPED, LifespanApp, with_lifespan
from tests.helpers.serving import serving
from tests.helpers.transcripts import body_of, get, ok, receive_response, status_of
from trioserve import AppNotFound, Config, LifespanDied, StartupFailed
from trioserve._server import Server, check
from trioserve._streams.memory import MemoryListener
from trioserve._types import AnyApp, App, Receive, Scope, Send
from trioserve.testing import seconds_passed, settled

user = contextvars.ContextVar("user", default="nobody")


class Opened:
    """An opener that notes what happens in ``events``."""

    def __init__(self, app: Any = hello, *, leave_seconds: float = 0) -> None:
        self.app = app
        self.events: list[str] = []
        self.leave_seconds = leave_seconds

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Any]:
        self.events.append("entered")
        try:
            yield self.app
        except BaseException as exc:
            self.events.append(type(exc).__name__)
            raise
        finally:
            await anyio.sleep(self.leave_seconds)
            self.events.append("left")


async def start(app: AnyApp, **options: Any) -> None:
    config = Config.from_options({"access_log": False} | options)
    await Server(app, config, listeners=[MemoryListener()]).serve()


async def die_of(app: AnyApp, use: Callable[[MemoryListener], Awaitable[None]]) -> LifespanDied:
    """What ``serve`` raises in the end."""
    listener = MemoryListener()
    failures: list[LifespanDied] = []

    async def serve() -> None:
        try:
            await Server(app, Config(access_log=False), listeners=[listener]).serve()
        except LifespanDied as exc:
            failures.append(exc)

    async with anyio.create_task_group() as nursery:
        nursery.start_soon(serve)
        await use(listener)
    [failure] = failures
    return failure


# -- what it surrounds -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lifespan", ["auto", "off"])
async def test_it_is_entered_before_the_first_request_and_left_after_the_last(lifespan: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await anyio.sleep(20)
        opened.events.append("request")
        await reply(send)

    opened = Opened(app)
    async with serving(opened.open, lifespan=lifespan) as site:
        client = site.connect()
        await client.send_all(get())
        await settled()
    assert opened.events == ["entered", "request", "left"]


async def test_requests_see_its_context_variables() -> None:
    @asynccontextmanager
    async def open_app() -> AsyncIterator[App]:
        user.set("of the manager")
        yield app

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        before = user.get()
        user.set("of a request")
        await reply(send, before.encode())

    for lifespan in ("auto", "off"):
        async with serving(open_app, lifespan=lifespan) as site:
            for _ in range(2):
                assert body_of(await site.answer_to(get())) == b"of the manager"
    assert user.get() == "nobody"


async def test_requests_use_its_task_group() -> None:
    ended: list[str] = []

    async def open_app() -> AsyncIterator[App]:
        async with anyio.create_task_group() as nursery:
            async def work(path: str) -> None:
                await anyio.sleep(20)
                ended.append(path)

            async def app(scope: Scope, receive: Receive, send: Send) -> None:
                nursery.start_soon(work, scope["path"])
                await reply(send)

            yield app

    with seconds_passed() as elapsed:
        async with serving(open_app) as site:
            assert status_of(await site.answer_to(get("/work"))) == 200
    assert ended == ["/work"]
    assert elapsed.seconds == 20


async def generate() -> AsyncIterator[App]:
    yield hello


@pytest.mark.parametrize("make", [lambda: Opened().open(), lambda: Opened().open, generate, lambda: generate])
async def test_objects_and_functions(make: Callable[[], Any]) -> None:
    async with serving(make()) as site:
        assert await site.answer_to(get()) == ok(b"/")


async def test_each_function_can_be_served_again() -> None:
    opened = Opened()
    for _ in range(2):
        async with serving(opened.open):
            pass
    assert opened.events == ["entered", "left"] * 2


async def test_an_application_of_asgi_2() -> None:
    def app(scope: Scope) -> Any:
        async def call(receive: Receive, send: Send) -> None:
            await reply(send, scope["asgi"]["version"].encode(), headers=[(b"content-length", b"3")])

        return call

    async with serving(Opened(app).open) as site:
        assert body_of(await site.answer_to(get())) == b"2.0"


@pytest.mark.real_clock  # its threads take real time
async def test_an_application_of_wsgi() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "4")])
        return [b"wsgi"]

    for interface in ("wsgi", "auto"):
        async with serving(Opened(app).open, interface=interface) as site:
            assert body_of(await site.answer_to(get())) == b"wsgi"


async def test_only_for_some_hosts() -> None:
    async with serving(Opened().open, server_name=["other"]) as site:
        assert status_of(await site.answer_to(get())) == 421


# -- a lifespan inside -----------------------------------------------------------------------------------------------


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


async def fails(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


async def fails_and_raises(receive: Receive, send: Send) -> None:
    await fails(receive, send)
    raise SystemError("as Starlette does")


async def fails_and_waits(receive: Receive, send: Send) -> None:
    await fails(receive, send)
    await receive()  # as Quart does


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
        r".*test_opened_app\.py:\d+ \(.*open_app\)", str(failure.value))
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

    failure = await die_of(open_app, use)
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

    await die_of(open_app, use)
    assert app.events == ["startup", "started", "lifespan cancelled"]


async def test_a_manager_that_ends_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    @asynccontextmanager
    async def open_app() -> AsyncIterator[App]:
        with anyio.move_on_after(5):
            yield hello

    async def use(listener: MemoryListener) -> None:
        await anyio.sleep(10)

    await die_of(open_app, use)
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
