"""What has ended in the last seconds."""

from typing import Any

import anyio
import pytest

from tests.helpers.admin import SHOWN, look
from tests.helpers.apps import part, reply, start
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, receive_response
from tests.helpers.ws_client import echo, open_websocket
from trioserve._admin import history as history_module
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled


class Clock:
    """Takes the place of ``perf_counter``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(history_module, "perf_counter", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await reply(send, b"12345", 500 if scope["path"] == "/bad" else 200)


async def test_newest_first_with_what_the_client_saw(clock: Clock) -> None:
    async with serving(app, **SHOWN) as site:
        await site.answer_to(get("/one?secret=1"))
        clock.now += 2
        await site.answer_to(get("/bad"))
        await site.everything_after(b"GET /refused?a=b HTTP/9.9\r\n\r\n")
        clock.now += 1
        ended: list[dict[str, Any]] = (await look(site))["ended"]
    assert [(entry["kind"], entry["name"], entry["status"], entry["ago"]) for entry in ended] == [
        ("request", "GET /bad", 500, 1.0), ("refused", "GET /refused?***", 505, 1.0),
        ("request", "GET /one?***", 200, 3.0)]
    assert [(entry["version"], entry["sent"], entry["client"]) for entry in ended if entry["kind"] == "request"] == [
        ("1.1", 5, "192.0.2.1:50000")] * 2
    assert "reason" not in ended[0] and ended[1]["reason"]


async def test_it_forgets_after_half_a_minute(clock: Clock) -> None:
    async with serving(app, **SHOWN) as site:
        await site.answer_to(get("/"))
        clock.now += 30
        assert len((await look(site))["ended"]) == 1
        clock.now += 0.1
        assert (await look(site))["ended"] == []


async def test_a_websocket(clock: Clock) -> None:
    async with serving(echo, **SHOWN) as site:
        client = await open_websocket(site)
        await client.text("hello")
        await client.receive_text()
        await client.close(1001)
        await client.receive_rest()
        await settled()
        closed = [entry for entry in (await look(site))["ended"] if entry["kind"] == "websocket"]
    [entry] = closed
    assert (entry["close_code"], entry["received"], entry["sent"]) == (1001, 5, 5)


async def test_a_busy_server_keeps_some_of_each_second_and_all_that_failed(clock: Clock) -> None:
    async with serving(app, **SHOWN) as site:
        client = site.connect()
        await client.send_all(get("/bad") + get("/") * 300)
        await settled()
        first = (await look(site))["ended"]
        await anyio.sleep(1.05)
        await client.send_all(get("/") * 300)
        await settled()
        second = (await look(site))["ended"]
    assert len(first) == 51
    assert len(second) == 101
    assert [entry["name"] for entry in second].count("GET /bad") == 1


async def test_what_was_ended_early_is_kept_however_busy_the_server_is(clock: Clock) -> None:
    async def slow_app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/":
            await reply(send, b"12345")
            return
        await start(send)
        await part(send, b"123")
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await part(send, b"45", more=False)

    async with serving(slow_app, **SHOWN, timeout_request=5) as site:
        client, slow = site.connect(), site.connect()
        await client.send_all(get("/") * 300)
        await slow.send_all(get("/slow"))
        await receive_response(slow)
        ended = (await look(site))["ended"]
    [entry] = [entry for entry in ended if entry["name"] == "GET /slow"]
    assert (entry["status"], entry["sent"], entry["reason"]) == (200, 5, "request-timeout")


async def test_nothing_is_remembered_when_nobody_may_look() -> None:
    async with serving(app) as site:
        assert site.server._admin is None
        assert site.server._connections._recorders == ()
