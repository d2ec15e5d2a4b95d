"""Requests in the tree of a running server, and what each has started."""

import asyncio

import anyio
import pytest

from tests.helpers.admin import SHOWN, children, find, is_trio, look, walk
from tests.helpers.apps import part, read_body, reply, start
from tests.helpers.http2_client import http2_client
from tests.helpers.serving import Site, serving
from tests.helpers.transcripts import get, post, receive_response
from tests.helpers.waiting_apps import FILE, MODULE, ask, ask_bank, ask_shop, hang, with_children
from tests.helpers.ws_client import accept, open_websocket
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled, virtual_backend


async def test_a_request_and_what_it_has_started() -> None:
    async with serving(with_children, **SHOWN) as site:
        await ask(site, get("/order?card=4711"))
        snapshot = await look(site)
    [request] = find(snapshot, kind="request")
    assert (request["name"], request["state"], request["cancellable"]) == ("GET /order?***", "APP", True)
    assert request["where"].startswith(f"{FILE}:") and request["where"].endswith("(with_children)")
    if is_trio():
        [nursery] = request["children"]
        assert (nursery["kind"], nursery["cancellable"]) == ("nursery", True)
        tasks = nursery["children"]
    else:
        tasks = request["children"]
    assert {task["name"]: task["where"].rpartition(" ")[2] for task in tasks} == {
        f"{MODULE}.ask_bank": "(ask_bank)", f"{MODULE}.ask_shop": "(ask_shop)"}
    [shop] = find(snapshot, name=f"{MODULE}.ask_shop")
    [scope] = shop["children"]
    assert (scope["kind"], scope["deadline"]) == ("scope", {"seconds": 50.0, "of": "cancel scope"})


async def test_scopes_of_every_make_around_a_request() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with anyio.CancelScope(shield=True), anyio.fail_after(7):
            if is_trio():
                import trio

                with trio.fail_after(5):
                    await anyio.sleep_forever()
            async with asyncio.timeout(5):
                await anyio.sleep_forever()

    async with serving(app, **SHOWN) as site:
        await ask(site, get("/"))
        [request] = find(await look(site), kind="request")
        scopes = [(node.get("shield", False), node.get("deadline", {}).get("seconds")) for node in request["children"]]
        site.only_connection.cancel("test")
    assert scopes == [(True, None), (False, 7.0), (False, 5.0)]


async def test_a_request_that_was_cancelled_says_why() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(5)

    async with serving(app, timeout_request=1, **SHOWN) as site:
        await ask(site, get("/"))
        await anyio.sleep(2)
        [request] = find(await look(site), kind="request")
    assert (request["cancelled"], request["reason"]) == (True, "request-timeout")
    assert "cancellable" not in request


async def test_the_stack_of_the_node_that_is_asked_for() -> None:
    async with serving(with_children, **SHOWN) as site:
        await ask(site, get("/"))
        before = await look(site)
        [bank] = find(before, name=f"{MODULE}.ask_bank")
        [request] = find(before, kind="request")
        snapshot = await look(site, stack=bank["id"])
        of_request = await look(site, stack=request["id"])
    assert not [node for node in walk(before["root"]) if "stack" in node]
    [bank] = [node for node in walk(snapshot["root"]) if "stack" in node]
    own = [frame for frame in bank["stack"] if not frame.get("machinery")]
    assert [(frame["function"], frame["file"]) for frame in own] == [("ask_bank", FILE)]
    assert [frame["function"] for frame in bank["stack"] if frame.get("machinery")]
    [node] = [node for node in walk(of_request["root"]) if "stack" in node]
    assert [frame["function"] for frame in node["stack"] if not frame.get("machinery")] == ["with_children"]


async def test_bytes_of_a_request() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await start(send)
        await send({"type": "http.response.body", "body": b"12345", "more_body": True})
        await anyio.sleep_forever()

    chunked = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nabcd\r\n9\r\nxyz"
    async with serving(app, **SHOWN) as site:
        await ask(site, post(b"abc", length=10))
        await ask(site, chunked)
        counts = [node["bytes"] for node in find(await look(site), kind="request")]
    assert counts == [{"received": 3, "sent": 5}, {"received": 7, "sent": 5}]


async def test_work_after_the_response() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        await reply(send, b"ok")
        await ask_bank()

    async with serving(app, **SHOWN) as site:
        client = await ask(site, post(b"abc") * 2)
        await receive_response(client)
        first, second = find(await look(site), kind="request")
    for request in (first, second):
        assert (request["state"], request["bytes"]) == ("AFTER", {"received": 3, "sent": 2})
        assert request["where"].endswith("(ask_bank)")
        assert "cancellable" not in request


async def test_a_request_has_its_name() -> None:
    async with serving(hang, **SHOWN) as site:
        await ask(site, get("/"))
        [request] = find(await look(site), kind="request")
    assert request["request_id"]


@pytest.mark.parametrize("engine", ["ngh2", "h2"])
async def test_streams_of_http2(engine: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            await receive()
        await with_children(scope, receive, send)

    async with serving(app, http2=True, http2_engine=engine, **SHOWN) as site, http2_client(site) as client:
        await client.ask()
        upload = await client.ask(method=b"POST", ends=False)
        await client.send(upload, b"abc")
        await settled()
        snapshot = await look(site)
        [connection] = find(snapshot, kind="connection")
        streams = find(snapshot, kind="stream")
    assert (connection["state"], connection["detail"]) == ("APP", "HTTP/2")
    assert [(stream["name"], stream["detail"], stream["bytes"]["received"]) for stream in streams] == [
        ("GET /", "stream 1", 0), ("POST /", "stream 3", 3)]
    for stream in streams:
        assert {node["name"] for node in walk(stream) if node["kind"] == "task"} == {
            f"{MODULE}.ask_bank", f"{MODULE}.ask_shop"}


async def tasks_of_the_connection(site: Site) -> list[str]:
    """Their names."""
    [connection] = find(await look(site), kind="connection")
    return [name for kind, name in children(connection) if kind == "task"]


async def test_a_task_of_ours_has_the_name_of_what_it_does() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"some")
        await anyio.sleep_forever()

    async with serving(app, **SHOWN) as site:
        await ask(site, get("/"))
        await anyio.sleep(1)
        [name] = await tasks_of_the_connection(site)
    assert name.endswith("Supervision._watch_client")


async def test_a_task_of_ours_has_the_name_of_what_it_does_over_http2() -> None:
    async with serving(hang, http2=True, **SHOWN) as site, http2_client(site) as client:
        await client.ask()
        await settled()
        site.only_connection.drain()
        await settled()
        [name] = await tasks_of_the_connection(site)
    assert name.endswith("Http2Connection._leave")


async def test_a_websocket() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        assert (await receive())["text"] == "hello"
        await send({"type": "websocket.send", "text": "hi"})
        await anyio.sleep_forever()

    async with serving(app, **SHOWN) as site:
        client = await open_websocket(site)
        await client.text("hello")
        await settled()
        [websocket] = find(await look(site), kind="websocket")
        assert (websocket["name"], websocket["state"], websocket["detail"]) == ("GET /", "APP", "open")
        assert websocket["bytes"] == {"received": 5, "sent": 2}
        site.only_connection.cancel("test")


@pytest.mark.parametrize("anyio_backend", [virtual_backend("asyncio")], ids=["asyncio"])
async def test_tasks_of_asyncios_own_are_under_the_request_that_started_them() -> None:
    left: list[asyncio.Task[None]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(ask_bank())
            left.append(asyncio.create_task(ask_shop()))
            await anyio.sleep(10)
            raise ValueError(scope["path"])

    async with serving(app, **SHOWN) as site:
        await ask(site, get("/one"))
        await ask(site, get("/two"))
        during = await look(site)
        await anyio.sleep(20)
        after = await look(site)
        for task in left:
            task.cancel()
        await settled()
    for name in ("GET /one", "GET /two"):
        [request] = find(during, name=name)
        assert sorted(children(request)) == [("task", f"{MODULE}.ask_bank"), ("task", f"{MODULE}.ask_shop")]
        assert all(node["cancellable"] for node in request["children"])
    [others] = find(after, kind="tasks")
    details = {node["detail"] for node in others["children"] if node["name"] == f"{MODULE}.ask_shop"}
    assert details == {"started by GET /one, which has ended", "started by GET /two, which has ended"}
    assert after["cannot_show"]
