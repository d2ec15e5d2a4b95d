"""The application's lifespan: its modes, its failures and its state (ASGI lifespan 2.0)."""

import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from tests.helpers.apps import reply
from tests.helpers.lifespans import COMPLETE, STOPPED, LifespanApp, with_lifespan
from tests.helpers.serving import serving
from tests.helpers.transcripts import body_of, get, ok, receive_response, status_of
from trioserve import Config, LifespanDied, StartupFailed
from trioserve._server import Server
from trioserve._streams.memory import MemoryListener
from trioserve._types import App, Receive, Scope, Send
from trioserve.testing import seconds_passed, settled

LifespanFunction = Callable[[Receive, Send], Awaitable[None]]


# -- modes -----------------------------------------------------------------------------------------------------------


async def supported(receive: Receive, send: Send) -> None:
    await receive()
    await send(COMPLETE)
    await receive()
    await send(STOPPED)


async def raises_before_receive(receive: Receive, send: Send) -> None:
    raise AssertionError("only http here")


async def answers(receive: Receive, send: Send) -> None:
    """As an application does that does not look at the type of its scope."""
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def raises_after_receive(receive: Receive, send: Send) -> None:
    await receive()
    raise ValueError("no database")


async def fails(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


async def fails_and_raises(receive: Receive, send: Send) -> None:
    await fails(receive, send)
    raise SystemError("as Starlette does")


async def fails_and_waits(receive: Receive, send: Send) -> None:
    await fails(receive, send)
    await receive()  # as Quart does


async def exits(receive: Receive, send: Send) -> None:
    raise SystemExit("no database")


async def exits_in_a_group(receive: Receive, send: Send) -> None:
    await receive()
    raise BaseExceptionGroup("of a nursery", [SystemExit("no database"), ValueError("another child")])


async def raises_generator_exit(receive: Receive, send: Send) -> None:
    raise GeneratorExit


async def raises_generator_exit_after_a_pause(receive: Receive, send: Send) -> None:
    await receive()
    await anyio.sleep(1)
    raise GeneratorExit


async def returns(receive: Receive, send: Send) -> None:
    pass


async def returns_after_receive(receive: Receive, send: Send) -> None:
    await receive()


SERVES, REFUSES = True, False
MODES: list[Any] = [
    ("auto", supported, SERVES), ("on", supported, SERVES), ("off", supported, SERVES),
    ("auto", raises_before_receive, SERVES), ("on", raises_before_receive, REFUSES),
    ("off", raises_before_receive, SERVES),
    ("auto", answers, SERVES), ("on", answers, REFUSES), ("off", answers, SERVES),
    ("auto", raises_after_receive, REFUSES), ("on", raises_after_receive, REFUSES),
    ("off", raises_after_receive, SERVES),
    ("auto", fails, REFUSES), ("on", fails, REFUSES), ("off", fails, SERVES),
    ("auto", fails_and_raises, REFUSES), ("on", fails_and_raises, REFUSES),
    ("auto", fails_and_waits, REFUSES), ("on", fails_and_waits, REFUSES),
    ("auto", exits, REFUSES), ("on", exits, REFUSES), ("off", exits, SERVES),
    ("auto", exits_in_a_group, REFUSES), ("on", exits_in_a_group, REFUSES),
    ("auto", raises_generator_exit, REFUSES), ("on", raises_generator_exit, REFUSES),
    ("auto", raises_generator_exit_after_a_pause, REFUSES),
    ("auto", returns, SERVES), ("on", returns, REFUSES), ("off", returns, SERVES),
    ("on", returns_after_receive, REFUSES),
]


@pytest.mark.parametrize(("mode", "lifespan", "serves"), MODES)
async def test_mode(mode: str, lifespan: LifespanFunction, serves: bool) -> None:  # ASGI lifespan, "Scope"
    app = with_lifespan(lifespan)
    if serves:
        async with serving(app, lifespan=mode) as site:
            assert await site.answer_to(get()) == ok(b"/")
    else:
        with pytest.raises(StartupFailed):
            await Server(app, Config.from_options({"lifespan": mode}), listeners=[MemoryListener()]).serve()


async def test_off_does_not_call_the_application() -> None:
    app = LifespanApp()
    async with serving(app, lifespan="off"):
        pass
    assert app.events == []


@pytest.mark.parametrize("lifespan", [raises_before_receive, answers])
async def test_unsupported_is_one_line_and_no_traceback(
    lifespan: LifespanFunction, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trioserve")
    async with serving(with_lifespan(lifespan), lifespan="auto"):
        pass
    [record] = [record for record in caplog.records if "lifespan" in record.getMessage()]
    assert record.levelname == "INFO"
    assert not record.exc_info


async def start(app: App, **options: Any) -> None:
    await Server(app, Config.from_options(options), listeners=[MemoryListener()]).serve()


async def test_an_exception_during_startup_is_logged_whole(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(StartupFailed):
        await start(with_lifespan(raises_after_receive))
    [record] = caplog.records
    assert record.exc_info
    assert "no database" in str(record.exc_info[1])


async def test_the_message_of_a_failed_startup_is_kept() -> None:  # ASGI lifespan, "Startup Failed"
    with pytest.raises(StartupFailed, match="no database"):
        await start(with_lifespan(fails))


async def test_a_startup_has_its_time() -> None:
    app = LifespanApp(startup_seconds=100)
    with seconds_passed() as elapsed, pytest.raises(StartupFailed) as failure:
        await start(app, timeout_startup=20)
    assert re.fullmatch(
        r"the application's lifespan did not start within 20 s \(--timeout-startup\), "
        r"waiting at .*lifespans\.py:\d+ \(LifespanApp\.lifespan\)", str(failure.value))
    assert elapsed.seconds == 20
    assert app.events == ["startup"]


async def test_a_startup_within_its_time_starts() -> None:
    async with serving(LifespanApp(startup_seconds=10), timeout_startup=20, lifespan="on") as site:
        await anyio.sleep(100)
        assert await site.answer_to(get()) == ok(b"/")


async def test_a_startup_may_take_as_long_as_it_likes_by_default() -> None:
    async with serving(LifespanApp(startup_seconds=3600), lifespan="on") as site:
        assert await site.answer_to(get()) == ok(b"/")


async def test_an_exception_after_a_failed_startup_is_not_reported_twice(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(StartupFailed, match="no database"):
        await start(with_lifespan(fails_and_raises))
    assert not caplog.records


async def test_start_of_a_task_group_fails_with_the_startup() -> None:
    with pytest.raises(BaseExceptionGroup) as raised:
        async with anyio.create_task_group() as nursery:
            await nursery.start(Server(with_lifespan(fails), Config(), listeners=[MemoryListener()]).serve)
    assert raised.group_contains(StartupFailed)


# -- order -----------------------------------------------------------------------------------------------------------


async def test_no_request_is_served_before_startup_is_complete() -> None:  # ASGI lifespan, "Startup"
    app = LifespanApp(startup_seconds=60)
    listener = MemoryListener()
    server = Server(app, Config(access_log=False), listeners=[listener])
    client = listener.connect()
    client.send_nowait(get("/early"))
    async with anyio.create_task_group() as nursery:
        nursery.start_soon(server.serve)
        await anyio.sleep(59)
        assert listener.waiting == 1
        assert server.addresses == []
        assert status_of(await receive_response(client)) == 200
        nursery.cancel_scope.cancel()
    assert app.events == ["startup", "started", "request /early", "end of /early", "shutdown", "stopped"]


async def test_shutdown_follows_the_last_connection() -> None:  # ASGI lifespan, "Shutdown"
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(20)
        await reply(send)

    app = LifespanApp(slow)
    async with serving(app, lifespan="on") as site:
        client = site.connect()
        await client.send_all(get("/slow"))
        await settled()
    assert app.events == ["startup", "started", "request /slow", "end of /slow", "shutdown", "stopped"]


async def test_a_server_cancelled_during_startup_ends_at_once() -> None:
    app = LifespanApp(startup_seconds=3600)
    with seconds_passed() as elapsed, anyio.move_on_after(5):
        await start(app)
    assert elapsed.seconds == 5
    assert app.events == ["startup"]


async def test_a_shutdown_requested_during_startup_ends_at_once() -> None:
    server = Server(LifespanApp(startup_seconds=3600), Config(), listeners=[MemoryListener()])
    with seconds_passed() as elapsed:
        async with anyio.create_task_group() as nursery:
            nursery.start_soon(server.serve)
            await anyio.sleep(5)
            server.request_shutdown("test")
    assert elapsed.seconds == 5


async def test_an_application_that_calls_its_interrupted_startup_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    """Starlette and FastAPI do. To the person who has pressed Ctrl-C it is none."""

    async def starting(receive: Receive, send: Send) -> None:
        await receive()
        try:
            await anyio.sleep_forever()
        except BaseException as exc:
            await send({"type": "lifespan.startup.failed", "message": f"{type(exc).__name__}\nand a traceback"})
            raise

    server = Server(with_lifespan(starting), Config(), listeners=[MemoryListener()])
    async with anyio.create_task_group() as nursery:
        nursery.start_soon(server.serve)
        await settled()
        server.request_shutdown("test")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


# -- state -----------------------------------------------------------------------------------------------------------


async def test_each_request_gets_a_shallow_copy_of_the_state() -> None:  # ASGI lifespan, "Lifespan State"
    shared: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            scope["state"].update(shared=shared, counter=0)
            await supported(receive, send)
            return
        scope["state"]["counter"] += 1
        scope["state"]["shared"].append(scope["path"])
        await reply(send, b"%d" % scope["state"]["counter"])

    async with serving(app, lifespan="auto") as site:
        client = site.connect()
        for target in ("/a", "/b"):
            await client.send_all(get(target))
            assert await receive_response(client) == ok(b"1")
    assert shared == ["/a", "/b"]


@pytest.mark.parametrize(("mode", "lifespan"), [("off", supported), ("auto", raises_before_receive)])
async def test_there_is_no_state_without_a_lifespan(mode: str, lifespan: LifespanFunction) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
        else:
            await reply(send, b"%d" % ("state" in scope))

    async with serving(app, lifespan=mode) as site:
        assert body_of(await site.answer_to(get())) == b"0"


async def test_the_scope_of_the_lifespan() -> None:  # ASGI lifespan, "Scope"
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(dict(scope))
        await supported(receive, send)

    async with serving(app, lifespan="on"):
        pass
    extensions = scopes[0].pop("extensions")
    assert scopes == [{"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}]
    assert {name: set(extension) for name, extension in extensions.items()} == {
        "trioserve.shutdown": {"wait"}, "trioserve.tasks": {"start", "running"}}


# -- failures while it runs ------------------------------------------------------------------------------------------


async def test_a_lifespan_that_dies_stops_the_server_gracefully(caplog: pytest.LogCaptureFixture) -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(20)
        await reply(send, b"finished")

    app = LifespanApp(slow)
    listener = MemoryListener()
    server = Server(app, Config(lifespan="on", access_log=False), listeners=[listener])

    async def use() -> None:
        client = listener.connect()
        await client.send_all(get("/slow"))
        await anyio.sleep(1)
        app.die.set()
        assert body_of(await receive_response(client)) == b"finished"
        with pytest.raises(ConnectionRefusedError):
            listener.connect()

    failures: list[Exception] = []
    async with anyio.create_task_group() as nursery:
        nursery.start_soon(use)
        try:
            await server.serve()
        except LifespanDied as exc:
            failures.append(exc)
    assert len(failures) == 1
    assert app.events[-1] == "end of /slow"
    [record] = [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert record.exc_info


@pytest.mark.parametrize("error", [OSError("the database has gone"), GeneratorExit(), SystemExit(1)], ids=repr)
async def test_a_lifespan_that_dies_at_once_stops_the_server(error: BaseException) -> None:
    async def lifespan(receive: Receive, send: Send) -> None:
        await receive()
        await send(COMPLETE)
        raise error

    with pytest.raises(LifespanDied):
        await Server(with_lifespan(lifespan), Config(access_log=False), listeners=[MemoryListener()]).serve()


async def test_a_lifespan_that_returns_after_startup_leaves_the_server_alone() -> None:
    async def lifespan(receive: Receive, send: Send) -> None:
        await receive()
        await send(COMPLETE)

    async with serving(with_lifespan(lifespan), lifespan="on") as site:
        await anyio.sleep(60)
        assert await site.answer_to(get()) == ok(b"/")


async def test_a_failed_shutdown_is_logged_and_the_server_ends(caplog: pytest.LogCaptureFixture) -> None:
    async def lifespan(receive: Receive, send: Send) -> None:  # ASGI lifespan, "Shutdown Failed"
        await receive()
        await send(COMPLETE)
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "disk full"})

    async with serving(with_lifespan(lifespan), lifespan="on"):
        pass
    assert "disk full" in caplog.text


async def test_an_exception_during_shutdown_is_logged_and_the_server_ends(caplog: pytest.LogCaptureFixture) -> None:
    async def lifespan(receive: Receive, send: Send) -> None:
        await receive()
        await send(COMPLETE)
        await receive()
        raise ValueError("disk full")

    async with serving(with_lifespan(lifespan), lifespan="on"):
        pass
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert record.exc_info


async def test_a_generator_exit_during_shutdown_is_logged_and_the_server_ends(caplog: pytest.LogCaptureFixture) -> None:
    async def lifespan(receive: Receive, send: Send) -> None:
        await receive()
        await send(COMPLETE)
        await receive()
        await anyio.sleep(1)
        raise GeneratorExit

    async with serving(with_lifespan(lifespan), lifespan="on"):
        pass
    assert caplog.messages == ["The application's lifespan failed during shutdown"]


async def test_a_shutdown_that_takes_too_long_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    app = LifespanApp(shutdown_seconds=3600)
    with seconds_passed() as elapsed:
        async with serving(app, lifespan="on", timeout_graceful_shutdown=30):
            pass
    assert elapsed.seconds == 30
    assert app.events[-2:] == ["shutdown", "lifespan cancelled"]
    assert "shutdown-deadline: the application's lifespan" in caplog.text


async def test_an_error_in_a_shutdown_that_is_cancelled_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def lifespan(receive: Receive, send: Send) -> None:
        async def child() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                raise ValueError("in cleaning up")

        await receive()
        await send(COMPLETE)
        await receive()
        async with anyio.create_task_group() as children:
            children.start_soon(child)
            children.start_soon(anyio.sleep_forever)

    async with serving(with_lifespan(lifespan), lifespan="on", timeout_graceful_shutdown=1):
        pass
    assert "in cleaning up" in caplog.text


async def test_a_lifespan_that_loops_cleans_up_once() -> None:
    cleaned_up: list[str] = []

    async def lifespan(receive: Receive, send: Send) -> None:
        while True:  # as many write it: nothing ends the loop but the server
            kind = (await receive())["type"]
            if kind == "lifespan.shutdown":
                cleaned_up.append(kind)
            await send({"type": f"{kind}.complete"})

    with seconds_passed() as elapsed:
        async with serving(with_lifespan(lifespan), lifespan="on"):
            pass
    assert cleaned_up == ["lifespan.shutdown"]
    assert elapsed.seconds == 0


async def test_a_task_that_the_lifespan_left_behind_is_cancelled() -> None:
    ended: list[str] = []

    async def lifespan(receive: Receive, send: Send) -> None:
        await supported(receive, send)
        try:
            await anyio.sleep_forever()  # its shutdown is complete, but it does not return
        finally:
            ended.append("cancelled")

    with seconds_passed() as elapsed:
        async with serving(with_lifespan(lifespan), lifespan="on"):
            pass
    assert ended == ["cancelled"]
    assert elapsed.seconds == 0


@pytest.mark.parametrize("messages", [
    [{"type": "lifespan.nonsense"}], [{"kind": "lifespan.startup.complete"}], [None], [STOPPED],
    [COMPLETE, COMPLETE], [COMPLETE, {"type": "lifespan.startup.failed"}]])
async def test_nonsense_raises_out_of_send(messages: list[Any]) -> None:  # ASGI core, "Error Handling"
    raised: list[Exception] = []

    async def lifespan(receive: Receive, send: Send) -> None:
        await receive()
        try:
            for message in messages:
                await send(message)
        except RuntimeError as exc:
            raised.append(exc)
        if COMPLETE not in messages:
            await send(COMPLETE)
        await receive()
        await send(STOPPED)

    async with serving(with_lifespan(lifespan), lifespan="on") as site:
        assert await site.answer_to(get()) == ok(b"/")
    assert len(raised) == 1


async def test_tasks_of_the_lifespan_run_beside_the_requests() -> None:
    ticks: list[float] = []

    async def lifespan(receive: Receive, send: Send) -> None:
        async def tick() -> None:
            while True:
                ticks.append(anyio.current_time())
                await anyio.sleep(1)

        await receive()
        async with anyio.create_task_group() as background:
            background.start_soon(tick)
            await send(COMPLETE)
            await receive()
            background.cancel_scope.cancel()
        await send(STOPPED)

    async with serving(with_lifespan(lifespan), lifespan="on"):
        await anyio.sleep(10)
    assert len(ticks) >= 10
