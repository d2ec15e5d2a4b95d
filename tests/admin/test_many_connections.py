"""Thousands of connections: what the page is sent does not grow with them."""

import json
from typing import Any, Final

import anyio
import pytest

from tests.admin.test_app import OPTIONS, PATH, events_in
from tests.helpers.admin import VALIDATOR, connections, walk
from tests.helpers.apps import hello
from tests.helpers.serving import Site, serving
from tests.helpers.transcripts import body_of, get
from trioserve._streams.memory import MemoryClient
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled

pytestmark = pytest.mark.no_cover  # what they reach other tests reach, and tracing would double their time

FEW: Final = 100
SOME: Final = 1000
MANY: Final = 2000
SHOWN_AT_ONCE: Final = 50
MOST_BYTES: Final = 64 * 1024  # of one event, with all that a page shows of 50 connections
MOST_ROWS: Final = 400


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Half of the requests are answered, the others wait, each with a child task."""
    if scope["path"] == "/":
        await hello(scope, receive, send)
        return
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.sleep_forever)


async def connect(site: Site, count: int) -> list[MemoryClient]:
    """``count`` connections: every other one is idle, and on each of the others a request waits."""
    clients = [site.connect() for _ in range(count)]
    for number, client in enumerate(clients):
        await client.send_all(get("/" if number % 2 else f"/order/{number}?card=secret"))
    await settled()
    return clients


async def first_events(site: Site) -> list[bytes]:
    """The first two that a page gets, as they are on the wire."""
    page = site.connect()
    await page.send_all(get(f"{PATH}/tree/events"))
    received = b""
    while received.count(b"event: tree\n") < 3:
        received += await page.receive_some()
    page.abort()
    return [b"event: tree\n" + part for part in received.split(b"event: tree\n")[1:3]]


async def what_is_sent(count: int) -> list[bytes]:
    async with serving(app, **OPTIONS, timeout_keep_alive=3600) as site:
        clients = await connect(site, count)
        events = await first_events(site)
        for client in clients:
            client.abort()
    for event in events:
        [(_, snapshot)] = events_in(event)
        VALIDATOR.validate(snapshot)
        assert sum(connections(snapshot)["counts"].values()) == count + 1
        assert len(connections(snapshot)["children"]) == SHOWN_AT_ONCE
        assert connections(snapshot)["hidden"] == count + 1 - SHOWN_AT_ONCE
        assert len(list(walk(snapshot["root"]))) <= MOST_ROWS
    return events


async def test_the_first_event_and_each_update_are_as_large_for_thousands_as_for_a_hundred() -> None:
    few, many = await what_is_sent(FEW), await what_is_sent(MANY)
    for of_few, of_many in zip(few, many, strict=True):
        assert len(of_many) <= MOST_BYTES
        assert len(of_many) == pytest.approx(len(of_few), rel=0.1)


async def test_every_connection_can_be_turned_to() -> None:
    async with serving(app, **OPTIONS, timeout_keep_alive=3600) as site:
        clients = await connect(site, SOME)
        seen: set[str] = set()
        for offset in range(0, SOME, 500):
            answer = await site.answer_to(get(f"{PATH}/tree?limit=500&offset={offset}"))
            snapshot: dict[str, Any] = json.loads(body_of(answer))
            seen |= {node["id"] for node in connections(snapshot)["children"]}
        found = await site.answer_to(get(f"{PATH}/tree?filter=/order/{SOME - 2}"))
        for client in clients:
            client.abort()
    assert len(seen) >= SOME
    [only] = [node for node in connections(json.loads(body_of(found)))["children"] if node["state"] == "APP"]
    assert [request["name"] for request in only["children"]] == [f"GET /order/{SOME - 2}?***"]
