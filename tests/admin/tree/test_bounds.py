"""The tree of a running server is bounded, however much there is in it."""

import anyio
import pytest

from tests.helpers.admin import SHOWN, children, connections, find, look, walk
from tests.helpers.apps import hello
from tests.helpers.serving import serving
from tests.helpers.transcripts import get
from tests.helpers.waiting_apps import MODULE, ask, ask_bank, hang, with_children
from trioserve._types import Receive, Scope, Send
from trioserve.testing import virtual_backend


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
        ("task", "parent"), ("task", f"{MODULE}.ask_bank"), ("task", f"{MODULE}.ask_shop")]
    assert len(many["cannot_show"]) == len(few["cannot_show"]) + 1


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
