"""Connections in the tree of a running server: their states, ages, deadlines and ids."""

import gc
import weakref
from typing import Any

import anyio
import pytest

from tests.helpers.admin import SHOWN, find, look
from tests.helpers.apps import hello, reply
from tests.helpers.serving import Site, serving
from tests.helpers.transcripts import get
from tests.helpers.waiting_apps import ask, hang
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled


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
        known = weakref.ref(site.only_connection)
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
