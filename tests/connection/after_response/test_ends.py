"""Work after the response, and the client's leaving, the next request's end, and a shutdown."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from tests.helpers.after_response import WORK_SECONDS, Worker, fetch
from tests.helpers.apps import part, reply, start
from tests.helpers.serving import Site, serving
from tests.helpers.transcripts import get, ok, receive_response, status_of
from trioserve._types import App, Receive, Scope, Send
from trioserve.testing import seconds_passed, settled


@pytest.mark.parametrize("on_disconnect", ["auto", "notify", "cancel"])
@pytest.mark.parametrize("leave", ["reset", "close", "end"])
async def test_the_client_s_leaving_does_not_cancel_work(on_disconnect: str, leave: str) -> None:
    app = Worker(seconds=30, steps=3)
    async with serving(app, on_disconnect=on_disconnect) as site:
        client = site.connect()
        assert await fetch(client, get("/a"), get("/b")) == [ok(b"/a"), ok(b"/b")]
        await anyio.sleep(1)
        if leave == "reset":
            client.abort()
        elif leave == "close":
            await client.aclose()
        else:
            client.send_eof()
        await anyio.sleep(60)
        assert site.connections == 0
    assert sorted(app.ends) == [("/a", "done"), ("/b", "done")]


@pytest.mark.parametrize("on_disconnect", ["auto", "cancel"])
async def test_a_client_that_leaves_the_next_request_ends_only_that(
    on_disconnect: str, caplog: pytest.LogCaptureFixture
) -> None:
    ends: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        how = "cancelled"
        try:
            if scope["path"] == "/work":
                await reply(send, b"work")
                for _ in range(20):
                    await anyio.sleep(1)
            else:
                await start(send)
                await part(send, b"part")
                await anyio.sleep_forever()
            how = "done"
        finally:
            ends.append(f"{scope['path']} {how}")

    caplog.set_level(logging.INFO, "trioserve")
    async with serving(app, on_disconnect=on_disconnect) as site:
        client = site.connect()
        assert await fetch(client, get("/work")) == [ok(b"work")]
        await client.send_all(get("/stream"))
        await client.receive_until(b"part\r\n")
        client.abort()
        await anyio.sleep(5)
        assert ends == ["/stream cancelled"]
        await anyio.sleep(30)
        assert site.connections == 0
    assert ends == ["/stream cancelled", "/work done"]
    assert [record.getMessage().split(" after ")[0] for record in caplog.records if "ended" in record.getMessage()] == [
        "client-disconnect: ended GET /stream"]


async def test_the_timeout_of_the_next_request_ends_only_that() -> None:
    app = Worker(seconds=20, steps=10)
    async with serving(app, timeout_request=5) as site:
        client = site.connect()
        assert await fetch(client, get("/a")) == [ok(b"/a")]
        await client.send_all(get("/slow"))
        assert status_of(await receive_response(client)) == 504
        assert app.working == 1
        await anyio.sleep(60)
    assert app.ends == [("/a", "done")]


@asynccontextmanager
async def stopped(app: App, *targets: str, within: float, **options: Any) -> AsyncIterator[Site]:
    """A server that is told to stop when it has answered these requests on one connection."""
    async with serving(app, timeout_graceful_shutdown=within, **options) as site:
        client = site.connect()
        await fetch(client, *map(get, targets))
        await settled()
        site.server.request_shutdown("test")
        yield site


async def test_work_is_drained_at_shutdown(stopping_log: Callable[[], list[str]]) -> None:
    app = Worker(steps=3)
    async with stopped(app, "/a", "/b", within=30) as site:
        with seconds_passed() as elapsed:
            await site.stopped.wait()
        assert elapsed.seconds == pytest.approx(WORK_SECONDS)
    assert sorted(app.ends) == [("/a", "done"), ("/b", "done")]
    assert stopping_log() == []


async def test_work_is_cancelled_at_the_deadline_and_named(stopping_log: Callable[[], list[str]]) -> None:
    app = Worker(seconds=3600, steps=3600)
    async with stopped(app, "/a", "/quick", "/b", within=10) as site:
        with seconds_passed() as elapsed:
            await site.stopped.wait()
        assert 8 <= elapsed.seconds <= 12
    assert sorted(app.ends) == [("/a", "cancelled"), ("/b", "cancelled")]
    lines = sorted(stopping_log())
    assert [line.split(" after ")[0] for line in lines] == [
        "shutdown-deadline: ended GET /a", "shutdown-deadline: ended GET /b"]
    assert all("(Worker.__call__)" in line for line in lines)


async def test_work_of_a_connection_that_has_ended_is_named_as_well(stopping_log: Callable[[], list[str]]) -> None:
    app = Worker(seconds=3600)
    async with serving(app, timeout_graceful_shutdown=10) as site:
        client = site.connect()
        await client.send_all(get("/a", "connection: close"))
        await client.receive_rest()
        await client.aclose()
        await site.stop()
    assert app.ends == [("/a", "cancelled")]
    assert [line.split(" after ")[0] for line in stopping_log()] == ["shutdown-deadline: ended GET /a"]


async def test_an_idle_connection_with_work_closes_at_once_at_shutdown() -> None:
    app = Worker()
    async with serving(app, timeout_graceful_shutdown=30) as site:
        client = site.connect()
        await fetch(client, get("/a"))
        site.server.request_shutdown("test")
        with seconds_passed() as elapsed:
            assert await client.receive_rest() == b""
        assert elapsed.seconds == 0
        assert not client.lost
    assert app.ends == [("/a", "done")]


async def test_a_request_in_progress_beside_work_is_answered_at_shutdown() -> None:
    app = Worker(seconds=6, steps=6)
    async with serving(app, timeout_graceful_shutdown=30) as site:
        client = site.connect()
        await fetch(client, get("/a"))
        await client.send_all(get("/slow"))
        await settled()
        site.server.request_shutdown("test")
        assert await client.receive_rest() == ok(b"/slow", "connection: close")
    assert app.ends == [("/a", "done")]
