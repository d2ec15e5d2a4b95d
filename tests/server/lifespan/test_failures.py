"""A lifespan that dies while the server runs, or does not shut down as it should."""

from typing import Any

import anyio
import pytest

from tests.helpers.apps import reply
from tests.helpers.lifespans import COMPLETE, STOPPED, LifespanApp, supported, with_lifespan
from tests.helpers.serving import serving
from tests.helpers.transcripts import body_of, get, ok, receive_response
from trioserve import Config, LifespanDied
from trioserve._server import Server
from trioserve._streams.memory import MemoryListener
from trioserve._types import Receive, Scope, Send
from trioserve.testing import seconds_passed


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


async def test_a_failed_shutdown_need_not_say_why(caplog: pytest.LogCaptureFixture) -> None:
    async def lifespan(receive: Receive, send: Send) -> None:  # ASGI lifespan: "message" is optional
        await receive()
        await send(COMPLETE)
        await receive()
        await send({"type": "lifespan.shutdown.failed"})

    async with serving(with_lifespan(lifespan), lifespan="on"):
        pass
    assert "The application failed to shut down: it does not say why" in caplog.messages


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


STARTS = "sent where lifespan.startup.complete or lifespan.startup.failed is expected"
NOTHING = "sent where nothing is expected until lifespan.shutdown has been received"


@pytest.mark.parametrize(("messages", "what"), [
    ([{"type": "lifespan.nonsense"}], STARTS), ([{"kind": "lifespan.startup.complete"}], "a dict with a 'type'"),
    ([None], "a dict with a 'type'"), ([STOPPED], STARTS), ([COMPLETE, COMPLETE], NOTHING),
    ([COMPLETE, {"type": "lifespan.startup.failed"}], NOTHING)])
async def test_nonsense_raises_out_of_send(messages: list[Any], what: str) -> None:  # ASGI core, "Error Handling"
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
    [error] = raised
    assert what in str(error)


async def test_after_the_shutdown_was_received_a_message_about_the_start_is_wrong() -> None:
    raised: list[Exception] = []

    async def lifespan(receive: Receive, send: Send) -> None:
        await receive()
        await send(COMPLETE)
        await receive()
        try:
            await send(COMPLETE)
        except RuntimeError as exc:
            raised.append(exc)
        await send(STOPPED)

    async with serving(with_lifespan(lifespan), lifespan="on"):
        pass
    [error] = raised
    assert "sent where lifespan.shutdown.complete or lifespan.shutdown.failed is expected" in str(error)


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
