"""``trioserve.tasks``: work of the application's that outlives its requests, in a nursery of the server's."""

import contextvars
import functools
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from tests.helpers.apps import hello, reply
from tests.helpers.lifespans import COMPLETE, STOPPED
from tests.helpers.openers import failure_of
from tests.helpers.serving import serving
from tests.helpers.transcripts import body_of, get, status_of
from tests.helpers.ws_client import accept, open_websocket
from trioserve import Config, TaskCrashed
from trioserve._server import Server, check
from trioserve._streams.memory import MemoryListener
from trioserve._types import App, Receive, Scope, Send
from trioserve.extensions import Tasks, tasks_of
from trioserve.testing import seconds_passed, settled


def starting(start: Callable[[Tasks], Any]) -> App:
    """An application whose requests start something, and are answered at once."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        start(tasks_of(scope))
        await reply(send)

    return app


def with_startup(start: Callable[[Tasks], Awaitable[None]], ended: Callable[[], None] = lambda: None) -> App:
    """An application whose lifespan starts something."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            return await hello(scope, receive, send)
        await receive()
        await start(tasks_of(scope))
        await send(COMPLETE)
        await receive()
        ended()
        await send(STOPPED)

    return app


async def run_until_failure(app: App, use: Callable[[MemoryListener], Awaitable[None]], **options: Any) -> TaskCrashed:
    """What ``serve`` raises in the end, when the listener was used."""
    return await failure_of(TaskCrashed, app, use, **({"lifespan": "off"} | options))


# -- what they outlive, and what waits for them ----------------------------------------------------------------------


async def test_a_task_outlives_its_request_and_its_connection() -> None:
    ended: list[tuple[int, str]] = []

    async def work(number: int, *, text: str = "default") -> None:
        await anyio.sleep(20)
        ended.append((number, text))

    async with serving(starting(lambda tasks: tasks.start(functools.partial(work, text="given"), 1))) as site:
        with seconds_passed() as elapsed:
            assert status_of(await site.answer_to(get())) == 200
            await settled()
        assert elapsed.seconds == 0
        assert site.connections == 0
        await anyio.sleep(30)
        assert ended == [(1, "given")]


async def test_a_websocket_starts_tasks_too() -> None:
    ended = anyio.Event()

    async def work() -> None:
        await anyio.sleep(20)
        ended.set()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        tasks_of(scope).start(work)

    async with serving(app) as site:
        client = await open_websocket(site)
        await client.say_goodbye()
        await ended.wait()


async def test_a_shutdown_waits_for_tasks_and_the_lifespan_comes_after_them(caplog: pytest.LogCaptureFixture) -> None:
    events: list[str] = []

    async def work() -> None:
        await anyio.sleep(20)
        events.append("task")

    async def start(tasks: Tasks) -> None:
        tasks.start(work)

    caplog.set_level(logging.INFO, "trioserve")
    with seconds_passed() as elapsed:
        async with serving(with_startup(start, lambda: events.append("lifespan")), lifespan="on"):
            pass
    assert events == ["task", "lifespan"]
    assert elapsed.seconds == 20
    [waiting, *_] = [record.getMessage() for record in caplog.records if "Waiting for" in record.getMessage()]
    assert re.fullmatch(r"Waiting for 1 background task \(.*\.work for \d s\), 27 s at most", waiting)


async def test_a_task_may_start_another_one_while_the_server_stops() -> None:
    ended: list[str] = []

    async def first(tasks: Tasks) -> None:
        await anyio.sleep(5)
        tasks.start(second)

    async def second() -> None:
        await anyio.sleep(5)
        ended.append("second")

    with seconds_passed() as elapsed:
        async with serving(starting(lambda tasks: tasks.start(first, tasks))) as site:
            await site.answer_to(get())
    assert ended == ["second"]
    assert elapsed.seconds == 10


async def test_a_task_that_does_not_end_is_cancelled_at_the_deadline(caplog: pytest.LogCaptureFixture) -> None:
    events: list[str] = []

    async def endless() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            events.append("cancelled")

    async def start(tasks: Tasks) -> None:
        tasks.start(endless, name="ticker")

    with seconds_passed() as elapsed:
        app = with_startup(start, lambda: events.append("lifespan"))
        async with serving(app, lifespan="on", timeout_graceful_shutdown=30):
            pass
    assert elapsed.seconds == 28
    assert events == ["cancelled", "lifespan"]
    [record] = caplog.records
    assert re.fullmatch(
        r"shutdown-deadline: ended the background task ticker after 0\.\d s, waiting at .*test_tasks\.py:\d+ .+",
        record.getMessage())


async def test_tasks_and_requests_have_the_same_deadline() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        tasks_of(scope).start(anyio.sleep_forever)
        await anyio.sleep_forever()

    with seconds_passed() as elapsed:
        async with serving(app, timeout_graceful_shutdown=30) as site:
            await site.connect().send_all(get())
            await settled()
    assert elapsed.seconds == 28


async def test_a_forced_shutdown_cancels_them() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        tasks_of(scope).start(anyio.sleep_forever)
        await reply(send)

    with seconds_passed() as elapsed:
        async with serving(app, timeout_graceful_shutdown=30) as site:
            await site.answer_to(get())
            site.server.request_shutdown("test")
            await anyio.sleep(3)
            site.server.force_shutdown()
    assert elapsed.seconds == 3


async def test_a_task_that_listens_for_the_shutdown_ends_by_itself() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        tasks_of(scope).start(scope["extensions"]["trioserve.shutdown"]["wait"])
        await reply(send)

    with seconds_passed() as elapsed:
        async with serving(app) as site:
            await site.answer_to(get())
    assert elapsed.seconds == 0


async def test_no_task_starts_when_the_server_has_stopped() -> None:
    kept: list[Tasks] = []
    async with serving(starting(kept.append)) as site:
        await site.answer_to(get())
    with pytest.raises(RuntimeError, match=r"the task sleep_forever cannot be started: the server has stopped"):
        kept[0].start(anyio.sleep_forever)


# -- crashes ---------------------------------------------------------------------------------------------------------


async def test_a_crash_stops_the_server_loudly(caplog: pytest.LogCaptureFixture) -> None:
    answered: list[bytes] = []

    async def work() -> None:
        await anyio.sleep(5)
        raise LookupError("no such row")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        tasks_of(scope).start(work, name="indexer")
        await anyio.sleep(20)
        await reply(send, b"finished")

    async def use(listener: MemoryListener) -> None:
        client = listener.connect()
        await client.send_all(get())
        answered.append(await client.receive_rest())

    with seconds_passed() as elapsed:
        failure = await run_until_failure(app, use)
    assert str(failure) == "the background task indexer crashed"
    assert failure.exit_code == 3
    assert body_of(answered[0]) == b"finished"  # a request in progress has its time
    assert elapsed.seconds == 20
    [record] = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert record.getMessage() == "The background task indexer crashed; the server stops"
    assert record.exc_info and "no such row" in str(record.exc_info[1])


async def test_a_crash_does_not_cancel_the_other_tasks() -> None:
    ended: list[str] = []

    async def crash() -> None:
        raise LookupError

    async def work() -> None:
        await anyio.sleep(10)
        ended.append("work")

    def start(tasks: Tasks) -> None:
        tasks.start(work)
        tasks.start(crash)

    async def use(listener: MemoryListener) -> None:
        await listener.connect().send_all(get())

    await run_until_failure(starting(start), use)
    assert ended == ["work"]


@pytest.mark.parametrize("error", [GeneratorExit(), SystemExit(1), BaseException()], ids=repr)
async def test_what_is_no_exception_is_a_crash_too(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    async def crash() -> None:
        await anyio.sleep(1)
        raise error

    async def use(listener: MemoryListener) -> None:
        await listener.connect().send_all(get())

    await run_until_failure(starting(lambda tasks: tasks.start(crash, name="indexer")), use)
    assert caplog.messages == ["The background task indexer crashed; the server stops"]


async def test_a_crash_during_the_startup(caplog: pytest.LogCaptureFixture) -> None:
    async def crash() -> None:
        raise LookupError

    async def start(tasks: Tasks) -> None:
        tasks.start(crash)
        await anyio.sleep(3600)

    async def use(listener: MemoryListener) -> None:
        pass

    with seconds_passed() as elapsed:
        await run_until_failure(with_startup(start), use, lifespan="on")
    assert elapsed.seconds == 0


async def test_a_failed_startup_takes_its_tasks_along() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("cancelled")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        tasks_of(scope).start(work)
        await anyio.sleep(1)
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    server = Server(app, Config(), listeners=[MemoryListener()])
    with pytest.raises(Exception, match="no database"):
        await server.serve()
    assert ended == ["cancelled"]


async def test_an_exception_while_a_task_is_cancelled_is_a_crash() -> None:
    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise LookupError("in cleaning up")

    async def use(listener: MemoryListener) -> None:
        await listener.connect().send_all(get())
        await anyio.sleep(1)

    def start(tasks: Tasks) -> None:
        tasks.start(work).cancel()

    await run_until_failure(starting(start), use)


# -- starting, naming, ending ----------------------------------------------------------------------------------------


async def test_running_tasks_have_names_and_ages() -> None:
    seen: list[list[tuple[str, bool]]] = []

    async def work() -> None:
        await anyio.sleep(5)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        tasks = tasks_of(scope)
        tasks.start(work)
        tasks.start(work, name="second")
        tasks.start(functools.partial(work))
        seen.append([(task.name, 0 <= task.age < 60) for task in tasks.running()])
        await anyio.sleep(10)
        seen.append([(task.name, True) for task in tasks.running()])
        await reply(send)

    async with serving(app) as site:
        await site.answer_to(get())
    name = "test_running_tasks_have_names_and_ages.<locals>.work"
    assert seen == [[(name, True), ("second", True), (name, True)], []]


async def test_a_task_is_cancelled_by_who_has_started_it() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("cancelled")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        task = tasks_of(scope).start(work)
        await anyio.sleep(1)
        task.cancel()
        await anyio.sleep(1)
        task.cancel()
        assert tasks_of(scope).running() == []
        await reply(send)

    async with serving(app) as site:
        assert status_of(await site.answer_to(get())) == 200
    assert ended == ["cancelled"]


async def test_a_task_has_a_copy_of_the_context_of_who_starts_it() -> None:
    user = contextvars.ContextVar("user", default="nobody")
    seen: list[str] = []

    async def work() -> None:
        await anyio.sleep(1)
        seen.append(user.get())
        user.set("changed")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        user.set("Ann")
        tasks_of(scope).start(work)
        await anyio.sleep(5)
        seen.append(user.get())
        await reply(send)

    async with serving(app) as site:
        await site.answer_to(get())
    assert seen == ["Ann", "Ann"]


async def test_what_is_no_task_is_refused_where_it_is_started() -> None:
    async def work() -> None: ...

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        start: Any = tasks_of(scope).start
        with pytest.raises(TypeError, match=r"an async function and its arguments, start\(.*work, \.\.\.\), not with"):
            start(work())
        with pytest.raises(TypeError, match="an async function; print is none"):
            start(print)
        with pytest.raises(TypeError, match="positional argument"):
            start(work, 1)
        await reply(send)

    async with serving(app) as site:
        assert status_of(await site.answer_to(get())) == 200


# -- check -----------------------------------------------------------------------------------------------------------


async def test_a_rehearsal_ends_the_tasks_of_the_startup() -> None:
    async def start(tasks: Tasks) -> None:
        tasks.start(anyio.sleep_forever)

    with seconds_passed() as elapsed:
        await check(with_startup(start), Config())
    assert elapsed.seconds == 0


async def test_a_rehearsal_notices_a_crash() -> None:
    async def crash() -> None:
        raise LookupError

    async def start(tasks: Tasks) -> None:
        tasks.start(crash)
        await anyio.sleep(1)

    with pytest.raises(TaskCrashed, match=r"crash crashed"):
        await check(with_startup(start), Config())
