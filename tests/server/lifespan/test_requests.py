"""The lifespan starts before the first request, ends after the last, and gives them its state."""

import anyio
import pytest

from tests.helpers.apps import reply
from tests.helpers.lifespans import LifespanApp, LifespanFunction, raises_before_receive, supported
from tests.helpers.serving import serving
from tests.helpers.transcripts import body_of, get, ok, receive_response, status_of
from trioserve import Config
from trioserve._server import Server
from trioserve._streams.memory import MemoryListener
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled


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
