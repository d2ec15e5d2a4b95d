"""A server whose task is cancelled, by anyio or natively, stops gracefully."""

import asyncio

import anyio
import pytest

from tests.helpers.apps import sleeper
from tests.helpers.lifespans import LifespanApp
from tests.helpers.transcripts import get, receive_response, status_of
from trioserve import Config
from trioserve._server import Server
from trioserve._streams.memory import MemoryClient, MemoryListener
from trioserve.testing import seconds_passed

only_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)


def asked(app: LifespanApp) -> tuple[Server, MemoryClient]:
    """A server that has not begun yet, and a client that has asked it for ``/20``."""
    listener = MemoryListener()
    client = listener.connect()
    client.send_nowait(get("/20"))
    return Server(app, Config(access_log=False), listeners=[listener]), client


async def test_a_deadline_around_serve_is_a_graceful_stop() -> None:
    app = LifespanApp(sleeper)
    server, _client = asked(app)
    with seconds_passed() as elapsed, anyio.move_on_after(5) as scope:
        await server.serve()
    assert scope.cancelled_caught
    assert elapsed.seconds == 20
    assert app.events[-3:] == ["end of /20", "shutdown", "stopped"]


async def test_a_failing_sibling_stops_the_server_gracefully() -> None:
    app = LifespanApp(sleeper)
    server, _client = asked(app)

    async def fail() -> None:
        await anyio.sleep(5)
        raise ValueError("a sibling's")

    with pytest.raises(ExceptionGroup) as raised:
        async with anyio.create_task_group() as nursery:
            nursery.start_soon(server.serve)
            nursery.start_soon(fail)
    assert raised.group_contains(ValueError, match="a sibling's", depth=1)
    assert app.events[-3:] == ["end of /20", "shutdown", "stopped"]


@only_asyncio
@pytest.mark.parametrize("cancels", [1, 3])
async def test_native_cancel_of_the_task_is_a_graceful_stop(cancels: int) -> None:
    """Once or again and again: the later ones change nothing."""
    app = LifespanApp(sleeper)
    server, client = asked(app)
    task = asyncio.create_task(server.serve())
    for _ in range(cancels):
        await asyncio.sleep(5)
        task.cancel()
    assert status_of(await receive_response(client)) == 200
    with pytest.raises(asyncio.CancelledError):
        await task
    assert app.events[-3:] == ["end of /20", "shutdown", "stopped"]


@only_asyncio
async def test_a_native_task_group_and_timeout_stop_gracefully() -> None:
    app = LifespanApp(sleeper)
    server, _client = asked(app)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await server.serve()
    assert app.events[-3:] == ["end of /20", "shutdown", "stopped"]
