"""On asyncio and uvloop each request has a task of its own: on real loops and sockets (see test_one_task_each)."""

import asyncio
from typing import Any

import pytest

from tests.helpers.apps import hello, reply
from tests.helpers.loopback import fixtures_over, receive_exactly, serving_on_loopback
from tests.helpers.stream_pairs import KINDS, Kind, Peer
from tests.helpers.transcripts import get, ok
from trioserve._types import Receive, Scope, Send

LOOPS = [kind for kind in KINDS if kind.name in ("asyncio", "uvloop", "tls-asyncio", "tls-uvloop")]


kind, anyio_backend = fixtures_over(LOOPS)


def current_task() -> "asyncio.Task[Any]":
    task = asyncio.current_task()
    assert task is not None
    return task


async def ask(peer: Peer, target: str) -> None:
    await peer.send(get(target))
    assert await receive_exactly(peer, len(ok(target.encode()))) == ok(target.encode())


async def test_another_task_which_ends_with_the_request(kind: Kind) -> None:
    tasks: list[asyncio.Task[Any]] = []
    ended: dict[str, asyncio.Event] = {}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        task = current_task()
        tasks.append(task)
        assert task.cancelling() == 0
        ended[scope["path"]] = event = asyncio.Event()
        task.add_done_callback(lambda done: event.set())
        if scope["path"] in ("/wait", "/wait-and-close"):
            await asyncio.sleep(0.001)
        assert current_task() is task
        await reply(send, scope["path"].encode())

    async with serving_on_loopback(kind, app) as site:
        peer = site.connect()
        for target in ("/a", "/wait", "/b"):
            await ask(peer, target)
            await ended[target].wait()  # although the connection goes on
    assert len(set(tasks)) == 3


@pytest.mark.parametrize("seconds", [0.0, 0.01])
async def test_a_late_cancel_that_was_forgotten(kind: Kind, seconds: float, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/forget":
            asyncio.get_running_loop().call_later(seconds, current_task().cancel)
        else:
            await asyncio.sleep(4 * seconds)
            assert current_task().cancelling() == 0
        await reply(send, scope["path"].encode())

    async with serving_on_loopback(kind, app) as site:
        peer = site.connect()
        for _ in range(5):
            await ask(peer, "/forget")
            await ask(peer, "/next")
    assert not caplog.records


async def test_a_task_that_cancels_itself(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/hello":
            await hello(scope, receive, send)
        elif scope["path"] == "/after":
            await reply(send, b"/after")
            current_task().cancel()
            await asyncio.sleep(10)
        else:
            current_task().cancel()
            await asyncio.sleep(10)

    async with serving_on_loopback(kind, app) as site:
        peer = site.connect()
        for _ in range(3):
            await ask(peer, "/after")
            await ask(peer, "/hello")
        await peer.send(get("/self"))
        received = b""
        while data := await peer.receive():
            received += data
        assert received.startswith(b"HTTP/1.1 500 ")
        assert b"connection: close" in received
        await ask(site.connect(), "/hello")
    assert [record.getMessage() for record in caplog.records] == [
        *["Exception in the application, serving GET /after"] * 3, "Exception in the application, serving GET /self"]
