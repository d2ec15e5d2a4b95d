"""The rehearsal of an application's start and stop."""

import sys
import traceback
from collections.abc import Awaitable, Callable

import anyio
import pytest

from tests.helpers.apps import hello
from tests.helpers.lifespans import COMPLETE, LifespanApp, with_lifespan
from trioserve import Config, ConfigError, StartupFailed
from trioserve._server import check
from trioserve._types import Receive, Send


async def test_an_application_starts_and_stops() -> None:
    app = LifespanApp()
    await check(app, Config())
    assert app.events == ["startup", "started", "shutdown", "stopped"]


async def test_an_application_without_lifespan() -> None:
    await check(hello, Config(lifespan="off"))


async def refuses(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


async def raises(receive: Receive, send: Send) -> None:
    await receive()
    raise LookupError


async def raises_at_the_end(receive: Receive, send: Send) -> None:
    await receive()
    await send(COMPLETE)
    await receive()
    raise LookupError


async def fails_at_the_end(receive: Receive, send: Send) -> None:
    await receive()
    await send(COMPLETE)
    await receive()
    await send({"type": "lifespan.shutdown.failed", "message": "still busy"})


async def never_ends(receive: Receive, send: Send) -> None:
    await receive()
    await send(COMPLETE)
    await anyio.sleep_forever()


@pytest.mark.parametrize(("lifespan", "problem"), [
    (refuses, "the application failed to start: no database"),
    (raises, "the application's lifespan raised during startup"),
    (raises_at_the_end, "the application's lifespan failed during shutdown"),
    (fails_at_the_end, "the application's lifespan failed during shutdown"),
    (never_ends, "the application's lifespan did not end within 30 s"),
])
async def test_applications_that_do_not(
    lifespan: Callable[[Receive, Send], Awaitable[None]], problem: str
) -> None:
    with pytest.raises(StartupFailed) as failure:
        await check(with_lifespan(lifespan), Config())
    assert str(failure.value) == problem


async def needs_a_second_to_end(receive: Receive, send: Send) -> None:
    await receive()
    await send(COMPLETE)
    await receive()
    await anyio.sleep(1)
    await send({"type": "lifespan.shutdown.complete"})


@pytest.mark.parametrize("budget", [0, 0.5])
async def test_a_short_budget_leaves_a_lifespan_its_two_seconds(budget: float) -> None:
    """As it does in a server."""
    await check(with_lifespan(needs_a_second_to_end), Config(timeout_graceful_shutdown=budget))
    with pytest.raises(StartupFailed, match="did not end within 2 s"):
        await check(with_lifespan(never_ends), Config(timeout_graceful_shutdown=budget))


@pytest.mark.parametrize("error", [
    LookupError("no database"), ExceptionGroup("several", [LookupError("no cache"), LookupError("no database")])])
async def test_a_traceback_is_logged_and_its_end_is_the_reason(  # what Starlette sends
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    text = "".join(traceback.format_exception(error))

    async def lifespan(receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": text})

    with pytest.raises(StartupFailed) as failure:
        await check(with_lifespan(lifespan), Config())
    assert str(failure.value) == "the application failed to start: LookupError: no database"
    assert (text.rstrip() in caplog.text) == (len(text.splitlines()) > 1)


ASYNCIO_NEEDED = "no running event loop"
SANIC = "Cannot finalize signals outside of event loop"
TRIO_NEEDED = "must be called from async context"


def saying(words: str, when: str) -> Callable[[Receive, Send], Awaitable[None]]:
    """A framework that reports an exception by its text."""
    async def lifespan(receive: Receive, send: Send) -> None:
        await receive()
        if when == "shutdown":
            await send(COMPLETE)
            await receive()
        await send({"type": f"lifespan.{when}.failed", "message": words})

    return lifespan


@pytest.mark.parametrize("when", ["startup", "shutdown"])
@pytest.mark.parametrize(("words", "needed"), [
    (ASYNCIO_NEEDED, "asyncio"), (SANIC, "asyncio"), (TRIO_NEEDED, "trio"), ("no database", "")])
async def test_words_of_a_framework_that_needs_the_other_backend(
    anyio_backend_name: str, words: str, needed: str, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(StartupFailed):
        await check(with_lifespan(saying(words, when)), Config())
    advice = [record.getMessage() for record in caplog.records if "--backend" in record.getMessage()]
    if needed in ("", anyio_backend_name):
        assert advice == []
    else:
        assert [text.rpartition(": ")[2] for text in advice] == [f"try --backend {needed}"]


@pytest.mark.parametrize("when", ["startup", "shutdown"])
async def test_what_a_framework_says_and_then_raises_is_reported_once(
    anyio_backend_name: str, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    words = TRIO_NEEDED if anyio_backend_name == "asyncio" else ASYNCIO_NEEDED

    async def lifespan(receive: Receive, send: Send) -> None:  # as Starlette does
        await saying(words, when)(receive, send)
        raise RuntimeError(words)

    with pytest.raises(StartupFailed):
        await check(with_lifespan(lifespan), Config())
    *reports, advice = caplog.messages
    assert reports == ([f"The application failed to shut down: {words}"] if when == "shutdown" else [])
    assert "try --backend" in advice


async def test_a_library_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trioserve._protocol.http1.head_httptools", None)
    monkeypatch.delattr("trioserve._protocol.http1.head_httptools", raising=False)
    with pytest.raises(ConfigError, match=r"^http: httptools is not installed"):
        await check(hello, Config(http="httptools"))


async def test_a_refusal_without_a_reason() -> None:
    async def lifespan(receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed"})

    with pytest.raises(StartupFailed, match="failed to start: it does not say why"):
        await check(with_lifespan(lifespan), Config())


async def test_a_start_that_takes_too_long() -> None:
    with pytest.raises(StartupFailed, match=r"did not start within 5 s"):
        await check(LifespanApp(startup_seconds=10), Config(timeout_startup=5))
