"""Who owns which task: everything that a connection does is done under the connection's own task."""

import asyncio
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
import sniffio
import trio

from tests.helpers.apps import hello, part, read_body, reply, start
from tests.helpers.http2_client import http2_client
from tests.helpers.serving import Site, serving
from tests.helpers.transcripts import get, ok, post, receive_response
from tests.helpers.ws_client import accept, open_websocket
from trioserve._types import App, Receive, Scope, Send
from trioserve.testing import settled

CONNECTION = "trioserve connection"


# -- what a person sees who asks the event loop -----------------------------------------------------------------------


def trio_children(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    for nursery in task.child_nurseries:
        yield from nursery.child_tasks


def trio_tree(task: trio.lowlevel.Task) -> list[trio.lowlevel.Task]:
    """``task`` and everything under it."""
    found = [task]
    for child in trio_children(task):
        found += trio_tree(child)
    return found


def everything() -> dict[int, str]:
    """All tasks that there are, by their ids, with their names."""
    if sniffio.current_async_library() == "trio":
        root = trio.lowlevel.current_root_task()
        assert root is not None
        return {id(task): task.name for task in trio_tree(root)}
    return {id(task): task.get_name() for task in asyncio.all_tasks()}


def under_connections() -> list[list[int]]:
    """The tasks of each connection, its own first.

    On trio as the tree of nurseries says. Asyncio has no tree: there it is what the server's nursery says about itself,
    and the tests compare it with all tasks that the event loop knows.
    """
    if sniffio.current_async_library() == "trio":
        root = trio.lowlevel.current_root_task()
        assert root is not None
        return [[id(task) for task in trio_tree(top)] for top in trio_tree(root) if top.name == CONNECTION]
    return [
        [id(task), *map(id, _asyncio_children(task))] for task in asyncio.all_tasks() if task.get_name() == CONNECTION
        if _nursery_of(task) is not None]


def _nursery_of(task: "asyncio.Task[Any]") -> Any:
    """The nursery that is run by ``task``, found in its frame."""
    coro: Any = task.get_coro()
    found = coro.cr_frame.f_locals.get("self")
    return found if type(found).__name__ == "AsyncioNursery" and coro.__name__ == "run" else None


def _asyncio_children(task: "asyncio.Task[Any]") -> Iterator["asyncio.Task[Any]"]:
    nursery = _nursery_of(task)
    for child in nursery.tasks():
        yield child
        if _nursery_of(child) is not None:
            yield from _asyncio_children(child)


class Watcher:
    """Compares the tasks that there are with those that there were before the first request."""

    def __init__(self) -> None:
        self.before = set(everything())

    def new(self) -> dict[int, str]:
        return {task: name for task, name in everything().items() if task not in self.before}

    def check(self, *, connections: int = 1, tasks: int) -> None:
        """That many connections, with so many tasks in all, and no new task beside them."""
        owned = under_connections()
        assert len(owned) == connections
        assert {task for tree in owned for task in tree} == set(self.new()), self.new()
        assert len(self.new()) == tasks, self.new()
        assert {info.id for info in anyio.get_running_tasks()} >= set(self.new())


@pytest.fixture
def request_tasks(anyio_backend_name: str) -> int:
    """Tasks of a connection with one request: on trio its own does it, elsewhere each request has one."""
    return 1 if anyio_backend_name == "trio" else 2


async def watching(site: Site) -> Watcher:
    """The server has come to rest before its first connection."""
    await settled()
    assert site.connections == 0
    return Watcher()


async def gone(site: Site, watcher: Watcher) -> None:
    await settled()
    assert site.connections == 0
    assert watcher.new() == {}


# -- the tree during ... -----------------------------------------------------------------------------------------------


async def test_a_plain_request_and_an_idle_connection(request_tasks: int) -> None:
    seen: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        watcher.check(tasks=request_tasks)
        seen.append(len(watcher.new()))
        await anyio.sleep(1)
        watcher.check(tasks=request_tasks)
        await reply(send, b"ok")

    async with serving(app) as site:
        watcher = await watching(site)
        client = site.connect()
        for _ in range(3):
            await client.send_all(get())
            assert await receive_response(client) == ok(b"ok")
            await settled()
            watcher.check(tasks=1)  # where each request has a task, an idle connection has none for the next
        await client.aclose()
        await gone(site, watcher)
    assert seen == [request_tasks] * 3


async def test_a_request_body_and_a_streamed_response(request_tasks: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert await read_body(receive) == b"body"
        await start(send)
        for _ in range(3):
            await part(send, b"part")
            watcher.check(tasks=request_tasks)
            await anyio.sleep(0.01)
        await part(send, b"", more=False)

    async with serving(app, on_disconnect="notify") as site:
        watcher = await watching(site)
        client = site.connect()
        await client.send_all(post(length=4))
        await settled()
        watcher.check(tasks=request_tasks)
        await client.send_all(b"body")
        await receive_response(client)
        client.abort()
        await gone(site, watcher)


@pytest.mark.parametrize("on_disconnect", ["auto", "cancel"])
async def test_a_client_that_is_watched(on_disconnect: str, request_tasks: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"part")
        await anyio.sleep(1)
        await part(send, b"part", more=False)
        await anyio.sleep(1)

    async with serving(app, on_disconnect=on_disconnect) as site:
        watcher = await watching(site)
        client = site.connect()
        await client.send_all(get())
        await anyio.sleep(0.5)
        watcher.check(tasks=request_tasks + 1)
        await anyio.sleep(1)
        watcher.check(tasks=request_tasks + 1)  # no watch any more, but a successor
        await anyio.sleep(1)
        await settled()
        await client.aclose()
        await gone(site, watcher)


async def test_a_client_that_leaves_while_it_is_watched(request_tasks: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"part")
        await anyio.sleep_forever()

    async with serving(app) as site:
        watcher = await watching(site)
        client = site.connect()
        await client.send_all(get())
        await anyio.sleep(0.5)
        client.abort()
        await anyio.sleep(0.2)
        watcher.check(tasks=request_tasks + 1)
        await anyio.sleep(0.5)
        await gone(site, watcher)


async def test_a_websocket_with_reading_ahead(request_tasks: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await anyio.sleep(60)
        assert (await receive())["text"] == "hello"
        assert (await receive())["type"] == "websocket.disconnect"

    async with serving(app, ws_ping_interval=5) as site:
        watcher = await watching(site)
        client = await open_websocket(site)
        watcher.check(tasks=request_tasks)
        await client.text("hello")
        await anyio.sleep(8)
        watcher.check(tasks=request_tasks + 1)
        await client.text("more")
        await anyio.sleep(10)
        watcher.check(tasks=request_tasks + 1)
        client.stream.abort()
        await anyio.sleep(60)
        await gone(site, watcher)


async def test_work_after_the_response(request_tasks: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"ok")
        await anyio.sleep(10)

    async with serving(app) as site:
        watcher = await watching(site)
        client = site.connect()
        for number in range(1, 4):
            await client.send_all(get())
            assert await receive_response(client) == ok(b"ok")
            await settled()
            watcher.check(tasks=request_tasks + number)
        await client.aclose()
        await settled()
        watcher.check(tasks=1 + 3 - (request_tasks == 1))  # on trio the first of them runs in the connection's own
        await anyio.sleep(10)
        await gone(site, watcher)


async def test_tasks_of_the_application_are_under_its_own(request_tasks: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as children:
            children.start_soon(anyio.sleep, 5)
            await anyio.sleep(1)
            [tree] = under_connections()
            if sniffio.current_async_library() == "trio":  # the tree of asyncio ends where our own nurseries do
                assert len(tree) == request_tasks + 1
            assert len(watcher.new()) == request_tasks + 1
        await reply(send, b"ok")

    async with serving(app) as site:
        watcher = await watching(site)
        assert await site.answer_to(get()) == ok(b"ok")
        await gone(site, watcher)


async def test_several_connections_each_with_its_own(request_tasks: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(1)
        await reply(send, b"ok")

    async with serving(app) as site:
        watcher = await watching(site)
        clients = [site.connect() for _ in range(5)]
        for client in clients:
            await client.send_all(get())
        await settled()
        watcher.check(connections=5, tasks=5 * request_tasks)
        assert {len(tree) for tree in under_connections()} == {request_tasks}
        for client in clients:
            assert await receive_response(client) == ok(b"ok")
            await client.aclose()
        await gone(site, watcher)


# -- the end -----------------------------------------------------------------------------------------------------------


async def wait_for_ever(scope: Scope, receive: Receive, send: Send) -> None:
    await anyio.sleep_forever()


async def stream_for_ever(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send)
    while True:
        await part(send, b"x" * 10_000)
        await anyio.sleep(0.2)


async def test_an_event_stream_over_http2_has_one_task() -> None:
    """Its own: the connection's holder hears when the client leaves, so nobody has to wait for that beside it."""
    async with serving(stream_for_ever, http2=True) as site, http2_client(site) as client:
        for _ in range(3):
            await client.head(await client.ask())
        await anyio.sleep(10)
        [tasks] = under_connections()
        assert len(tasks) == len(("connection", "holder")) + 3


async def work_for_ever(scope: Scope, receive: Receive, send: Send) -> None:
    await reply(send, b"ok")
    await anyio.sleep_forever()


@pytest.mark.parametrize("app", [hello, wait_for_ever, stream_for_ever, work_for_ever])
async def test_nothing_is_left_after_the_deadline_of_a_shutdown(app: App) -> None:
    async with serving(app, timeout_graceful_shutdown=5) as site:
        watcher = await watching(site)
        client = site.connect()
        await client.send_all(get() + get())
        await anyio.sleep(1)
        assert watcher.new()
        await site.stop()
        assert watcher.new() == {}
