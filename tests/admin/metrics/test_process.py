"""What one process knows: what there is at the moment, beside what it has counted."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from tests.helpers.apps import hello, part, reply, start
from tests.helpers.http2_client import http2_client
from tests.helpers.serving import Site, serving
from tests.helpers.transcripts import get, receive_response
from tests.helpers.ws_client import echo, open_websocket
from trioserve._admin.history import History
from trioserve._admin.metrics.families import FAMILIES, OPTIONS
from trioserve._admin.metrics.process import Facts, ProcessMetrics
from trioserve._connection import Lifetime
from trioserve._server.loop_guard.counts import StallCounts
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled

CONNECTIONS = "trioserve_connections"
IN_PROGRESS = "trioserve_requests_in_progress"
WEBSOCKETS = "trioserve_websockets"
MESSAGES = "trioserve_websocket_messages_total"
PAYLOAD = "trioserve_websocket_payload_bytes_total"
STRUCK = "trioserve_limits_struck_total"


class Measured:
    """A server that is going to be made, as its metrics see it."""

    def __init__(self) -> None:
        self.site: Site | None = None
        self.metrics = ProcessMetrics(self, History())

    @property
    def lifetime(self) -> Lifetime:
        assert self.site is not None
        return self.site.lifetime

    @property
    def stalls(self) -> StallCounts:
        assert self.site is not None
        return self.site.server.stalls

    def facts(self) -> Facts:
        return Facts("trio", "httptools", "")

    def lifespan_state(self) -> str:
        return "RUNNING"

    def values(self, family: str) -> dict[tuple[str, ...], float]:
        """Those that are not 0, by their labels."""
        return {sample.labels: sample.numbers[0] for sample in self.metrics.snapshot()[family] if sample.numbers[0]}

    def value(self, family: str) -> float:
        [sample] = self.metrics.snapshot()[family]
        return sample.numbers[0]


@asynccontextmanager
async def measured(app: Any, **options: Any) -> AsyncIterator[tuple[Site, Measured]]:
    server = Measured()
    async with serving(app, recorders=[server.metrics.tally], **options) as site:
        server.site = site
        yield site, server


async def waits(scope: Scope, receive: Receive, send: Send) -> None:
    """Does what the path says, and waits."""
    if scope["type"] == "websocket":
        await echo(scope, receive, send)
    elif scope["path"] == "/before":
        await anyio.sleep_forever()
    elif scope["path"] == "/middle":
        await start(send)
        await part(send, b"part")
        await anyio.sleep_forever()
    elif scope["path"] == "/after":
        await reply(send)
        await anyio.sleep_forever()
    else:
        await hello(scope, receive, send)


async def test_connections_by_state() -> None:
    async with measured(waits, timeout_graceful_shutdown=1) as (site, server):
        assert server.values(CONNECTIONS) == {}
        clients = [site.connect() for _ in range(5)]
        for client, request in zip(clients, (b"", get("/"), get("/before"), b"GET / HT", get("/after")), strict=True):
            await client.send_all(request)
        await settled()
        assert server.values(CONNECTIONS) == {("idle",): 2, ("app",): 1, ("head",): 1, ("after",): 1}
        assert server.value("trioserve_connections_accepted_total") == 5
        for client in clients:
            client.abort()
        await anyio.sleep(3)
    assert server.values(CONNECTIONS) == {}
    assert server.value("trioserve_connections_accepted_total") == 5


async def test_every_state_is_there_from_the_beginning() -> None:
    async with measured(hello) as (_, server):
        states = {sample.labels[0] for sample in server.metrics.snapshot()[CONNECTIONS]}
    assert states == {"opening", "idle", "head", "app", "after", "farewell"}


async def test_requests_in_progress() -> None:
    async with measured(waits, http2=True, timeout_graceful_shutdown=1) as (site, server):
        for target in ("/", "/before", "/middle", "/after"):
            await site.connect().send_all(get(target))
        async with http2_client(site) as client:
            for target in ("/before", "/middle", "/after"):
                await client.ask(target)
            await settled()
            assert server.value(IN_PROGRESS) == 4
            assert server.value(WEBSOCKETS) == 0


async def test_websockets_count_while_they_are_open_and_afterwards() -> None:
    async with measured(waits) as (site, server):
        one, two = await open_websocket(site), await open_websocket(site)
        for client, texts in ((one, ("a", "bc")), (two, ("def",))):
            for text in texts:
                await client.text(text)
                assert await client.receive_text() == text
        expected = {("received",): 3, ("sent",): 3}
        bytes_expected = {("received",): 6, ("sent",): 6}
        assert server.value(WEBSOCKETS) == 2
        assert server.value(IN_PROGRESS) == 0
        assert (server.values(MESSAGES), server.values(PAYLOAD)) == (expected, bytes_expected)
        await one.say_goodbye()
        await settled()
        assert server.value(WEBSOCKETS) == 1
        assert (server.values(MESSAGES), server.values(PAYLOAD)) == (expected, bytes_expected)
    assert server.value(WEBSOCKETS) == 0
    assert (server.values(MESSAGES), server.values(PAYLOAD)) == (expected, bytes_expected)


async def test_a_websocket_whose_application_has_returned_is_counted_until_it_is_closed() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    async with measured(app) as (site, server):
        client = await open_websocket(site)
        await client.text("hello")
        assert await client.receive_close() == 1000
        await settled()
        assert (server.value(WEBSOCKETS), server.values(MESSAGES)) == (1, {("received",): 1})
        await client.close(1000)
        await settled()
        assert (server.value(WEBSOCKETS), server.values(MESSAGES)) == (0, {("received",): 1})


async def test_times_in_which_the_loop_stood_still() -> None:
    async with measured(hello) as (site, server):
        site.server.stalls.add(0.5)
        site.server.stalls.add(0.25)
        assert server.value("trioserve_event_loop_stalls_total") == 2
        assert server.value("trioserve_event_loop_stalled_seconds_total") == 0.75


async def test_limits_that_struck() -> None:
    async with measured(hello, timeout_header=5) as (site, server):
        await site.everything_after(b"GET")
        await site.everything_after(get("/", *["a: b"] * 101))
    assert server.values(STRUCK) == {("timeout_header",): 1, ("limit_header_count",): 1}
    assert {sample.labels[0] for sample in server.metrics.snapshot()[STRUCK]} == set(OPTIONS)


async def test_what_serves_and_since_when() -> None:
    before = time.time()
    async with measured(hello) as (_, server):
        snapshot = server.metrics.snapshot()
    [(version, python, *facts)] = [sample.labels for sample in snapshot["trioserve_info"]]
    assert facts == ["trio", "httptools", ""]
    assert version and python
    [(pid,), (since,)] = snapshot["trioserve_worker_start_time_seconds"][0]
    assert (pid, before <= since <= time.time()) == (str(os.getpid()), True)
    assert server.values("trioserve_lifespans") == {("running",): 1}


@pytest.mark.parametrize("request_first", [False, True])
async def test_each_family_is_known_and_has_its_labels(request_first: bool) -> None:
    async with measured(hello) as (site, server):
        if request_first:
            client = site.connect()
            await client.send_all(get())
            await receive_response(client)
        for name, samples in server.metrics.snapshot().items():
            family = FAMILIES[name]
            for sample in samples:
                assert len(sample.labels) == len(family.labels), name
                assert len(sample.numbers) == (len(family.buckets) + 2 if family.buckets else 1), name
