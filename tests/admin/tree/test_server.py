"""The tree of a running server: the server itself, its lifespan, its services and other tasks."""

import asyncio
import re
from typing import Any

import anyio

from tests.helpers.admin import SHOWN, children, connections, find, is_trio, look, walk
from tests.helpers.apps import hello, reply
from tests.helpers.lifespans import LifespanApp
from tests.helpers.serving import serving
from tests.helpers.transcripts import get
from tests.helpers.waiting_apps import MODULE, ask_bank, ask_shop
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled


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
            await site.stop()
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
    assert names == {f"{MODULE}.ask_bank"} | ({f"{MODULE}.ask_shop"} if started else set())


async def test_the_services_of_the_server_are_counted_and_not_shown() -> None:
    async with anyio.create_task_group() as program, serving(hello, **SHOWN) as site:
        program.start_soon(ask_bank)  # the server is a part of a program that has tasks of its own
        await settled()
        [others] = find(await look(site, limit=500), kind="tasks")
        program.cancel_scope.cancel()
    names = [name for _, name in children(others)]
    assert f"{MODULE}.ask_bank" in names
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
        assert [node["name"] for node in walk(task) if node["kind"] == "task"] == ["work", f"{MODULE}.ask_bank"]
        [others] = find(snapshot, name="other tasks")
        assert not [name for _, name in children(others) if name.startswith("trioserve task")]
        assert (await site.server.look().cancel(task["id"])).status == 200
        await settled()
        assert not find(await look(site), name="background tasks")
