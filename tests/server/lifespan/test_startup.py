"""How the lifespan starts: its modes, and a start-up that fails or is interrupted (ASGI lifespan 2.0)."""

import logging
import re
from typing import Any

import anyio
import pytest

from tests.helpers.lifespans import (
    LifespanApp,
    LifespanFunction,
    fails,
    fails_and_raises,
    fails_and_waits,
    raises_before_receive,
    supported,
    with_lifespan,
)
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, ok
from trioserve import Config, StartupFailed
from trioserve._server import Server
from trioserve._streams.memory import MemoryListener
from trioserve._types import App, Receive, Send
from trioserve.testing import seconds_passed, settled

# -- modes -----------------------------------------------------------------------------------------------------------


async def answers(receive: Receive, send: Send) -> None:
    """As an application does that does not look at the type of its scope."""
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def raises_after_receive(receive: Receive, send: Send) -> None:
    await receive()
    raise ValueError("no database")


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


@pytest.mark.parametrize(
    ("lifespan", "why"), [(raises_before_receive, "AssertionError"), (answers, "'http.response.start' sent where")])
async def test_unsupported_is_one_line_and_no_traceback(
    lifespan: LifespanFunction, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trioserve")
    async with serving(with_lifespan(lifespan), lifespan="auto"):
        pass
    [record] = [record for record in caplog.records if "lifespan" in record.getMessage()]
    assert record.levelname == "INFO"
    assert f"The application has no lifespan ({why}" in record.getMessage()
    assert not record.exc_info


@pytest.mark.parametrize(("lifespan", "lines"), [(returns, 0), (returns_after_receive, 1)])
async def test_a_start_that_is_received_and_not_answered_is_told(
    lifespan: LifespanFunction, lines: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(with_lifespan(lifespan), lifespan="auto") as site:
        assert await site.answer_to(get()) == ok(b"/")
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) == lines
    assert all("returned without startup.complete: it has no state" in text for text in said)


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


# -- interrupted -----------------------------------------------------------------------------------------------------


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
