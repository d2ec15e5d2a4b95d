"""Cancelling what the tree shows, on both backends, and how one hears of it."""

import logging
from typing import Any

import anyio
import pytest
import sniffio
from trio.testing import MockClock

from tests.helpers.admin import SHOWN, find, look, walk
from tests.helpers.apps import reply, start
from tests.helpers.http2_client import http2_client
from tests.helpers.lifespans import LifespanApp
from tests.helpers.serving import Site, serving
from tests.helpers.transcripts import get
from tests.helpers.waiting_apps import ask, ask_bank, hang, with_children
from tests.helpers.ws_client import accept, open_websocket
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled


async def cancel(site: Site, id: str) -> tuple[int, dict[str, Any]]:
    answer = await site.server.look().cancel(id)
    await settled()
    return answer.status, answer.body


async def cancel_first(site: Site, kind: str, **fields: Any) -> tuple[int, dict[str, Any]]:
    node = find(await look(site), kind=kind, **fields)[0]
    return await cancel(site, node["id"])


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


async def test_a_request(lines: pytest.LogCaptureFixture) -> None:
    async with serving(with_children, **SHOWN, access_log=True) as site:
        client = await ask(site, get("/order?card=4711"))
        status, body = await cancel_first(site, "request")
        assert (status, body["kind"], body["name"]) == (200, "request", "GET /order?***")
        assert await client.receive_rest() == b""
        assert not find(await look(site), kind="task", name=f"{ask_bank.__module__}.ask_bank")
        [entry] = (await look(site))["ended"]
    assert (entry["reason"], entry["status"], entry["name"]) == ("admin", 0, "GET /order?***")
    assert [line for line in lines.messages if line.startswith("admin: ended GET /order?card=4711 after")]
    assert any('"GET /order?card=4711 HTTP/1.1" 0 admin' in line for line in lines.messages)


async def test_a_connection(lines: pytest.LogCaptureFixture) -> None:
    async with serving(hang, **SHOWN) as site:
        client = await ask(site, get("/"))
        status, body = await cancel_first(site, "connection")
        assert (status, body["kind"]) == (200, "connection")
        await client.receive_rest()
        assert site.connections == 0
    assert any(line.startswith("admin: ended GET / after") for line in lines.messages)


async def test_an_idle_connection() -> None:
    async with serving(hang, **SHOWN) as site:
        client = await ask(site, b"")
        assert (await cancel_first(site, "connection"))[0] == 200
        assert await client.receive_rest() == b""
        assert site.connections == 0


@pytest.mark.parametrize("engine", ["ngh2", "h2"])
async def test_one_stream_of_several(engine: str) -> None:
    async with serving(hang, http2=True, http2_engine=engine, **SHOWN) as site, http2_client(site) as client:
        first, second = await client.ask(), await client.ask()
        await settled()
        assert (await cancel_first(site, "stream", detail=f"stream {first}"))[0] == 200
        left = [node["detail"] for node in find(await look(site), kind="stream")]
        assert left == [f"stream {second}"]


async def test_a_websocket(lines: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await anyio.sleep_forever()

    async with serving(app, **SHOWN) as site:
        client = await open_websocket(site)
        await settled()
        assert (await cancel_first(site, "websocket"))[0] == 200
        await client.stream.receive_rest()
        assert not find(await look(site), kind="websocket")
    assert any(line.startswith("admin: ended GET / after") for line in lines.messages)


async def test_a_nursery_or_a_task_and_the_request_goes_on(lines: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask_bank)
        await reply(send, b"without the bank")

    kind = "nursery" if sniffio.current_async_library() == "trio" else "task"
    async with serving(app, **SHOWN) as site:
        client = await ask(site, get("/"))
        [request] = find(await look(site), kind="request")
        node = request["children"][0]
        assert node["kind"] == kind
        assert (await cancel(site, node["id"]))[0] == 200
        assert await client.receive_until(b"bank")
    assert any(line.startswith(f"admin: cancelled the {kind} ") for line in lines.messages)


async def test_a_scope() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with anyio.move_on_after(1000):
            await anyio.sleep_forever()
        await reply(send, b"late")

    async with serving(app, **SHOWN) as site:
        client = await ask(site, get("/"))
        assert (await cancel_first(site, "scope"))[0] == 200
        assert await client.receive_until(b"late")
        assert anyio.current_time() < 2000


@pytest.mark.trio
async def test_a_task_of_trios_cannot_be_cancelled_alone(autojump_clock: MockClock) -> None:
    async with serving(with_children, **SHOWN) as site:
        await ask(site, get("/"))
        [request] = find(await look(site), kind="request")
        task = next(node for node in walk(request) if node["kind"] == "task")
        assert "cancellable" not in task
        status, body = await cancel(site, task["id"])
    assert (status, body["error"]) == (
        409, "trio cancels nurseries and cancel scopes, not tasks: cancel the nursery that it is in")


async def test_a_task_by_a_scope_of_its_own() -> None:
    async def ask_stock() -> None:
        with anyio.CancelScope():
            await anyio.sleep_forever()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask_stock)
            tasks.start_soon(anyio.sleep, 1000)
        await reply(send, b"late")

    async with serving(app, **SHOWN) as site:
        client = await ask(site, get("/"))
        [task] = [node for node in find(await look(site), kind="task") if node["name"].endswith("ask_stock")]
        if sniffio.current_async_library() == "trio":
            status, body = await cancel(site, task["id"])
            assert (status, body["error"].rpartition(", or ")[2]) == (409, "a cancel scope of its own")
        [own] = find({"root": task}, kind="scope")
        assert (await cancel(site, own["id"]))[0] == 200
        left = find(await look(site), kind="task")
        assert not [node for node in left if node["name"].endswith("ask_stock")]
        assert [node for node in left if node["name"].endswith("sleep")]
        assert await client.receive_until(b"late")


async def test_what_ends_with_the_server_cannot_be_cancelled() -> None:
    async with serving(LifespanApp(), **(SHOWN | {"lifespan": "on"})) as site:
        snapshot = await look(site, limit=500)
        nodes = [node for node in walk(snapshot["root"]) if node["kind"] != "connections"]
        assert len(nodes) > 5
        for node in nodes:
            assert "cancellable" not in node
            assert (await cancel(site, node["id"]))[0] == 409
        assert find(await look(site), kind="lifespan", state="RUNNING")


async def test_work_after_the_response_belongs_to_its_connection() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send)
        await anyio.sleep_forever()

    async with serving(app, **SHOWN) as site:
        await ask(site, get("/"))
        status, body = await cancel_first(site, "request", state="AFTER")
        assert (status, body["error"]) == (
            409, "its answer is complete, and what goes on belongs to its connection: cancel that")
        assert (await cancel_first(site, "connection"))[0] == 200
        assert site.connections == 0


async def test_a_request_that_is_being_cancelled() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        with anyio.CancelScope(shield=True):
            await anyio.sleep(5)

    async with serving(app, **SHOWN) as site:
        await ask(site, get("/"))
        assert (await cancel_first(site, "request"))[0] == 200
        status, body = await cancel_first(site, "request")
        assert (status, body["error"]) == (409, "it has been ended already (admin)")


async def test_what_is_gone() -> None:
    async with serving(hang, **SHOWN) as site:
        client = await ask(site, get("/"))
        snapshot = await look(site)
        await cancel_first(site, "connection")
        await client.receive_rest()
        for kind in ("connection", "request"):
            assert (await cancel(site, find(snapshot, kind=kind)[0]["id"]))[0] == 404
        for id in ("", "1-1", "x", "999999999999-1"):
            assert (await cancel(site, id))[0] == 404
