"""On asyncio each request of a connection has a task of its own (over sockets: see test_request_tasks)."""

import asyncio
from typing import Any

import anyio
import pytest

from tests.helpers.apps import hello, reply
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, ok, receive_response
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled


class TaskNotes:
    """What an application sees of its task, and what callbacks on it see."""

    def __init__(self) -> None:
        self.tasks: list[asyncio.Task[Any]] = []
        self.done: list[str] = []
        self.cancelling: list[int] = []

    def note(self, path: str) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.append(task)  # which keeps it alive: no id is used twice
        self.cancelling.append(task.cancelling())
        task.add_done_callback(lambda done: self.done.append(path))


asyncio_only = pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)


@asyncio_only
@pytest.mark.parametrize("pipelined", [False, True])
async def test_each_request_of_a_connection_has_another_task(pipelined: bool) -> None:
    notes = TaskNotes()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        notes.note(scope["path"])
        before = asyncio.current_task()
        await anyio.sleep(1)
        assert asyncio.current_task() is before
        await reply(send, b"ok")

    async with serving(app) as site:
        client = site.connect()
        if pipelined:
            await client.send_all(get("/0") + get("/1") + get("/2"))
        for number in range(3):
            if not pipelined:
                await client.send_all(get(f"/{number}"))
            assert await receive_response(client) == ok(b"ok")
            await settled()
            if not pipelined:
                assert notes.done == [f"/{number}" for number in range(number + 1)], "not only when the connection ends"
        assert notes.done == ["/0", "/1", "/2"]
    assert len(set(notes.tasks)) == 3
    assert notes.cancelling == [0, 0, 0]


@asyncio_only
async def test_a_request_that_never_waits_has_a_task_of_its_own() -> None:
    notes = TaskNotes()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        notes.note(scope["path"])
        await reply(send, b"ok")

    async with serving(app) as site:
        client = site.connect()
        for number in range(3):
            await client.send_all(get(f"/{number}"))
            assert await receive_response(client) == ok(b"ok")
            await settled()
            assert len(notes.done) == number + 1
        assert await site.answer_to(get("/close", "connection: close")) == ok(b"ok", "connection: close")
        await settled()
        assert notes.done[-1] == "/close"
    assert len(set(notes.tasks)) == 4


@asyncio_only
@pytest.mark.parametrize("seconds", [0.0, 0.5, 2.0])
async def test_a_late_cancel_that_was_forgotten_harms_no_other_request(
    seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        if scope["path"] == "/first":
            asyncio.get_running_loop().call_later(seconds, task.cancel)
        else:
            await anyio.sleep(3)
        await reply(send, scope["path"].encode())

    async with serving(app) as site:
        client = site.connect()
        for target in ("/first", "/second", "/first", "/third"):
            await client.send_all(get(target))
            assert await receive_response(client) == ok(target.encode())
        await anyio.sleep(5)
        assert not client.is_disconnected()
    assert not caplog.records


async def cancel_itself(scope: Scope, receive: Receive, send: Send) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(1)


async def cancel_itself_after_the_response(scope: Scope, receive: Receive, send: Send) -> None:
    await reply(send, b"ok")
    await cancel_itself(scope, receive, send)


async def cancel_itself_without_a_wait(scope: Scope, receive: Receive, send: Send) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await reply(send, b"ok")


@asyncio_only
async def test_a_task_that_cancels_itself_is_an_error_of_the_application(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(cancel_itself) as site:
        client = site.connect()
        await client.send_all(get("/self"))
        response = await client.receive_rest()
        assert response.startswith(b"HTTP/1.1 500 "), "and the connection closes cleanly"
        assert not client.lost
        assert (await site.answer_to(get())).startswith(b"HTTP/1.1 500 ")
    assert [record.getMessage() for record in caplog.records] == [
        f"Exception in the application, serving GET {target}" for target in ("/self", "/")]


@asyncio_only
async def test_a_task_that_cancels_itself_after_its_response(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (hello if scope["path"] == "/hello" else cancel_itself_after_the_response)(scope, receive, send)

    async with serving(app) as site:
        client = site.connect()
        for _ in range(2):
            await client.send_all(get("/self") + get("/hello"))
            assert await receive_response(client) == ok(b"ok")
            assert await receive_response(client) == ok(b"/hello")
        await anyio.sleep(1)
        await client.send_all(get("/hello"))
        assert await receive_response(client) == ok(b"/hello")
    assert len(caplog.records) == 2


@asyncio_only
async def test_a_task_that_cancels_itself_and_does_not_wait_is_answered() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (hello if scope["path"] == "/hello" else cancel_itself_without_a_wait)(scope, receive, send)

    async with serving(app) as site:
        client = site.connect()
        for _ in range(2):
            await client.send_all(get("/self"))
            assert await receive_response(client) == ok(b"ok")
            await client.send_all(get("/hello"))
            assert await receive_response(client) == ok(b"/hello")
