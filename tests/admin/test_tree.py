"""The tree of a running server, on both backends: what is in it, and in which state."""

import asyncio
import gc
import re
import weakref
from typing import Any

import anyio
import pytest
import sniffio

from tests.helpers.admin import SHOWN, children, connections, find, look, walk
from tests.helpers.apps import hello, part, read_body, reply, start
from tests.helpers.http2_client import http2_client
from tests.helpers.lifespans import LifespanApp
from tests.helpers.serving import Site, serving
from tests.helpers.transcripts import get, post, receive_response
from tests.helpers.ws_client import accept, open_websocket
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled, virtual_backend

OF_HERE = __name__


def is_trio() -> bool:
    return sniffio.current_async_library() == "trio"


async def ask_bank() -> None:
    await anyio.sleep(100)


async def ask_shop() -> None:
    with anyio.move_on_after(50):
        await anyio.sleep(100)


async def hang(scope: Scope, receive: Receive, send: Send) -> None:
    await anyio.sleep_forever()


async def with_children(scope: Scope, receive: Receive, send: Send) -> None:
    async with anyio.create_task_group() as asking:
        asking.start_soon(ask_bank)
        asking.start_soon(ask_shop)


async def ask(site: Site, request: bytes) -> Any:
    """Send a request on a new connection, and let everything come to rest."""
    client = site.connect()
    await client.send_all(request)
    await settled()
    return client


# -- the server ------------------------------------------------------------------------------------------------------


async def test_the_root_and_its_branches() -> None:
    async with serving(hello, **SHOWN) as site:
        snapshot = await look(site)
    root = snapshot["root"]
    assert (root["kind"], root["name"], root["state"]) == ("server", "trioserve", "READY")
    assert sniffio_name(root) in ("trio", "asyncio")
    assert children(root) == [
        ("listeners", "listeners"), ("lifespan", "lifespan"), ("connections", "connections"), ("tasks", "other tasks")]
    assert connections(snapshot)["counts"] == {}


def sniffio_name(root: dict[str, Any]) -> str:
    return str(root["detail"].partition(",")[0])


async def test_a_lifespan_and_its_states() -> None:
    states = []
    app = LifespanApp(shutdown_seconds=5)
    async with serving(app, lifespan="on", **SHOWN) as site:
        async def watch() -> None:
            while (state := find(await look(site), kind="lifespan")[0].get("state")) != "ENDED":
                states.append((state, (await look(site))["root"]["state"]))
                await anyio.sleep(1)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            await anyio.sleep(1.5)
            site.server.request_shutdown("test")
            await site.server._stopped.wait()
            tasks.cancel_scope.cancel()
    assert list(dict.fromkeys(states)) == [("RUNNING", "READY"), ("STOPPING", "STOPPING")]


async def test_what_the_lifespan_has_started_is_under_it() -> None:
    started: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask_bank)
            if not is_trio():
                started.append(asyncio.create_task(ask_shop()))
            await send({"type": "lifespan.startup.complete"})
            await receive()
            tasks.cancel_scope.cancel()
        await send({"type": "lifespan.shutdown.complete"})

    async with serving(app, **(SHOWN | {"lifespan": "on"})) as site:
        await settled()
        [lifespan] = find(await look(site), kind="lifespan")
        for task in started:
            task.cancel()
    assert lifespan["where"].endswith("app)")
    names = {node["name"] for node in walk(lifespan) if node["kind"] == "task"}
    assert names == {f"{OF_HERE}.ask_bank"} | ({f"{OF_HERE}.ask_shop"} if started else set())


async def test_the_services_of_the_server_are_counted_and_not_shown() -> None:
    async with anyio.create_task_group() as program, serving(hello, **SHOWN) as site:
        program.start_soon(ask_bank)  # the server is a part of a program that has tasks of its own
        await settled()
        [others] = find(await look(site, limit=500), kind="tasks")
        program.cancel_scope.cancel()
    names = [name for _, name in children(others)]
    assert f"{OF_HERE}.ask_bank" in names
    assert not [name for name in names if name.startswith(("trioserve", "trio.", "<"))]
    assert re.fullmatch(r"and \d+ of the server and the event loop", others["detail"])


async def test_when_there_is_nothing_else_only_their_number_is_told() -> None:
    async with serving(hello, **SHOWN) as site:
        await settled()
        [others] = find(await look(site, limit=500), kind="tasks")
    assert children(others) == []
    assert re.fullmatch(r"\d+ of the server and the event loop", others["detail"])


async def test_tasks_that_outlive_their_requests() -> None:
    async def work() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask_bank)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["extensions"]["trioserve.tasks"]["start"](work, name="work")
        await reply(send)

    async with serving(app, timeout_graceful_shutdown=1, **SHOWN) as site:
        await site.answer_to(get("/"))
        await anyio.sleep(3)
        snapshot = await look(site)
        [task] = find(snapshot, name="work")
        assert (task["age"] >= 0, task["cancellable"], task["where"].rpartition(".")[2]) == (True, True, "work)")
        assert [node["name"] for node in walk(task) if node["kind"] == "task"] == ["work", f"{OF_HERE}.ask_bank"]
        [others] = find(snapshot, name="other tasks")
        assert not [name for _, name in children(others) if name.startswith("trioserve task")]
        assert (await site.server.look().cancel(task["id"])).status == 200
        await settled()
        assert not find(await look(site), name="background tasks")


# -- connections -----------------------------------------------------------------------------------------------------


async def state_after(site: Site, request: bytes) -> tuple[str, dict[str, Any] | None]:
    await ask(site, request)
    [connection] = find(await look(site), kind="connection")
    return connection["state"], connection.get("deadline")


@pytest.mark.parametrize(("request_bytes", "state", "deadline"), [
    (b"", "IDLE", {"seconds": 10.0, "of": "header-timeout"}),
    (b"GET / HT", "HEAD", {"seconds": 10.0, "of": "header-timeout"}),
    (get("/"), "IDLE", {"seconds": 75.0, "of": "keep-alive-timeout"}),
    (get("/hang"), "APP", None),
    (get("/after"), "AFTER", {"seconds": 75.0, "of": "keep-alive-timeout"}),
    (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\nconnection: close\r\n\r\nabc", "FAREWELL", None),
])
async def test_states_of_a_connection(request_bytes: bytes, state: str, deadline: Any) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != "/hang":
            await reply(send)
        if scope["path"] != "/":
            await anyio.sleep_forever()

    async with serving(app, **SHOWN) as site:
        assert await state_after(site, request_bytes) == (state, deadline)


async def test_a_client_that_may_speak_either_version_is_opening() -> None:
    async with serving(hello, http2=True, **SHOWN) as site:
        assert await state_after(site, b"PRI") == ("OPENING", {"seconds": 10.0, "of": "header-timeout"})


async def test_ages_and_deadlines_are_of_the_moment() -> None:
    async with serving(hang, timeout_request=30, **SHOWN) as site:
        await ask(site, get("/"))
        await anyio.sleep(10)
        [request] = find(await look(site), kind="request")
    assert request["deadline"] == {"seconds": 20.0, "of": "request-timeout"}


async def test_a_deadline_that_the_application_has_set() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["extensions"]["trioserve.request"]["get"]().deadline = anyio.current_time() + 9
        await anyio.sleep_forever()

    async with serving(app, timeout_request=30, **SHOWN) as site:
        await ask(site, get("/"))
        [request] = find(await look(site), kind="request")
    assert request["deadline"] == {"seconds": 9.0, "of": "deadline"}


async def test_ids_stay_and_are_not_used_again() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async with serving(app, **SHOWN) as site:
        first = await ask(site, get("/"))
        [before] = find(await look(site), kind="request")
        [again] = find(await look(site), kind="request")
        first.abort()
        await anyio.sleep(1)
        await ask(site, get("/"))
        [after] = find(await look(site), name="GET /", kind="request")
    assert before["id"] == again["id"] != after["id"]


async def test_a_look_keeps_nothing_alive() -> None:
    async with serving(hello, **SHOWN) as site:
        client = await ask(site, get("/"))
        await look(site)
        [connection] = site.server._lifetime.connections
        known = weakref.ref(connection)
        del connection
        await client.aclose()
        await settled()
        gc.collect()
        assert known() is None


async def test_a_stop_at_its_deadline() -> None:
    async with serving(hang, timeout_graceful_shutdown=10, shutdown_delay=3, **SHOWN) as site:
        await ask(site, get("/"))
        site.server.request_shutdown("test")
        await settled()
        delayed = (await look(site))["root"]["state"]
        await anyio.sleep(4)
        draining = await look(site)
    assert delayed == "DELAY"
    assert draining["root"]["state"] == "DRAINING"
    assert find(draining, kind="request")


# -- requests --------------------------------------------------------------------------------------------------------


async def test_a_request_and_what_it_has_started() -> None:
    async with serving(with_children, **SHOWN) as site:
        await ask(site, get("/order?card=4711"))
        snapshot = await look(site)
    [request] = find(snapshot, kind="request")
    assert (request["name"], request["state"], request["cancellable"]) == ("GET /order?***", "APP", True)
    assert request["where"].startswith(f"{__file__}:") and request["where"].endswith("(with_children)")
    if is_trio():
        [nursery] = request["children"]
        assert (nursery["kind"], nursery["cancellable"]) == ("nursery", True)
        tasks = nursery["children"]
    else:
        tasks = request["children"]
    assert {task["name"]: task["where"].rpartition(" ")[2] for task in tasks} == {
        f"{OF_HERE}.ask_bank": "(ask_bank)", f"{OF_HERE}.ask_shop": "(ask_shop)"}
    [shop] = find(snapshot, name=f"{OF_HERE}.ask_shop")
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
        site.server._lifetime.connections.copy().pop().cancel("test")
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
        [bank] = find(before, name=f"{OF_HERE}.ask_bank")
        [request] = find(before, kind="request")
        snapshot = await look(site, stack=bank["id"])
        of_request = await look(site, stack=request["id"])
    assert not [node for node in walk(before["root"]) if "stack" in node]
    [bank] = [node for node in walk(snapshot["root"]) if "stack" in node]
    own = [frame for frame in bank["stack"] if not frame.get("machinery")]
    assert [(frame["function"], frame["file"]) for frame in own] == [("ask_bank", __file__)]
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
            f"{OF_HERE}.ask_bank", f"{OF_HERE}.ask_shop"}


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
        [connection] = site.server._lifetime.connections
        connection.drain()
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
        site.server._lifetime.connections.copy().pop().cancel("test")


# -- asyncio: tasks by whom they were started ------------------------------------------------------------------------


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
        assert sorted(children(request)) == [("task", f"{OF_HERE}.ask_bank"), ("task", f"{OF_HERE}.ask_shop")]
        assert all(node["cancellable"] for node in request["children"])
    [others] = find(after, kind="tasks")
    details = {node["detail"] for node in others["children"] if node["name"] == f"{OF_HERE}.ask_shop"}
    assert details == {"started by GET /one, which has ended", "started by GET /two, which has ended"}
    assert after["cannot_show"]


@pytest.mark.parametrize("anyio_backend", [virtual_backend("asyncio")], ids=["asyncio"])
async def test_with_very_many_tasks_their_parents_are_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from trioserve._streams.on_asyncio import tasks as on_asyncio_tasks

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(with_children, scope, receive, send, name="parent")

    async with serving(app, **SHOWN) as site:
        await ask(site, get("/"))
        few = await look(site)
        monkeypatch.setattr(on_asyncio_tasks, "MOST_ASKED", 1)
        many = await look(site)
    [request] = find(few, kind="request")
    assert children(request) == [("task", "parent")]
    [request] = find(many, kind="request")
    assert sorted(children(request)) == [
        ("task", "parent"), ("task", f"{OF_HERE}.ask_bank"), ("task", f"{OF_HERE}.ask_shop")]
    assert len(many["cannot_show"]) == len(few["cannot_show"]) + 1


# -- many ------------------------------------------------------------------------------------------------------------


async def test_many_connections_are_counted_and_a_part_of_them_is_shown() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (hang if scope["path"] == "/hang" else hello)(scope, receive, send)

    async with serving(app, **SHOWN) as site:
        for _ in range(60):
            await ask(site, get("/"))
        await ask(site, get("/hang"))
        snapshot = await look(site)
        page = await look(site, limit=30, offset=31)
        filtered = await look(site, filter="/HANG")
    node = connections(snapshot)
    assert node["counts"] == {"APP": 1, "IDLE": 60}
    assert (len(node["children"]), node["hidden"]) == (50, 11)
    assert [child["state"] for child in node["children"][:2]] == ["APP", "IDLE"]
    first, second = ({child["id"] for child in connections(which)["children"]} for which in (snapshot, page))
    assert len(second) == 30 and len(first & second) == 19
    assert connections(filtered)["counts"] == {"APP": 1}
    assert len(connections(filtered)["children"]) == 1


async def test_a_snapshot_is_bounded_whatever_the_limit() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(400):
                tasks.start_soon(ask_bank)

    async with serving(app, **SHOWN) as site:
        for _ in range(10):
            await ask(site, get("/"))
        snapshot = await look(site, limit=500)
    nodes = list(walk(snapshot["root"]))
    of_connections = connections(snapshot)
    assert 1900 <= len(nodes) <= 2100
    assert len(of_connections["children"]) + of_connections.get("hidden", 0) == 10
    assert sum(node.get("hidden", 0) for node in walk(of_connections["children"][-1])) > 0


async def test_a_long_request_line_is_cut() -> None:
    async with serving(hang, **SHOWN) as site:
        await ask(site, get("/" + "a" * 5000))
        [request] = find(await look(site), kind="request")
    assert len(request["name"]) == 203
