"""What applications can ask of this server besides ASGI: ``trioserve.*`` in ``scope["extensions"]``."""

import copy
from typing import Any

import anyio

from tests.helpers.apps import hello, reply
from tests.helpers.serving import seconds_passed, serving
from tests.helpers.transcripts import get, receive_response, status_of
from trioserve._types import Receive, Scope, Send


async def test_each_extension_is_a_dict_and_a_request_s_own() -> None:  # ASGI core, "Extensions"
    seen: list[dict[str, Any]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(copy.deepcopy(offered(scope)))
        for extension in offered(scope).values():
            assert type(extension) is dict
            extension.clear()
        scope["extensions"].clear()
        await reply(send)

    async with serving(app, timeout_request=60) as site:
        for _ in range(2):
            assert status_of(await site.answer_to(get())) == 200
    assert [{name: set(extension) for name, extension in extensions.items()} for extensions in seen] == 2 * [{
        "trioserve.shutdown": {"wait"}, "trioserve.tasks": {"start", "running"}, "trioserve.request": {"get"},
        "trioserve.request_id": {"get"}, "trioserve.timeout_request": {"restart"},
    }]


def offered(scope: Scope) -> dict[str, Any]:
    return {name: known for name, known in scope["extensions"].items() if name.startswith("trioserve.")}


async def test_what_is_switched_off_is_not_offered() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend(offered(scope))
        await reply(send)

    async with serving(app, request_id_header="off") as site:
        await site.answer_to(get())
    assert seen == ["trioserve.shutdown", "trioserve.tasks", "trioserve.request"]


async def test_a_stream_learns_of_the_shutdown_and_ends_by_itself() -> None:
    begun = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        begun.set()
        await scope["extensions"]["trioserve.shutdown"]["wait"]()
        await send({"type": "http.response.body", "body": b"ended"})

    async with serving(app, timeout_graceful_shutdown=3600) as site:
        client = site.connect()
        await client.send_all(get())
        await begun.wait()
        with seconds_passed() as elapsed:
            site.server.request_shutdown("test")
            assert (await receive_response(client)).endswith(b"5\r\nended\r\n0\r\n\r\n")
            assert await client.receive_rest() == b""
    assert elapsed.seconds == 0


async def test_it_waits_until_the_delay_is_over() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await scope["extensions"]["trioserve.shutdown"]["wait"]()
        await reply(send)

    async with serving(app, shutdown_delay=10) as site:
        client = site.connect()
        await client.send_all(get())
        with seconds_passed() as elapsed:
            site.server.request_shutdown("test")
            await receive_response(client)
    assert elapsed.seconds == 10


async def test_the_time_of_a_request_can_begin_anew() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(5):
            await anyio.sleep(50)
            scope["extensions"]["trioserve.timeout_request"]["restart"]()
        await anyio.sleep_forever()

    async with serving(app, timeout_request=60) as site:
        with seconds_passed() as elapsed:
            assert status_of(await site.everything_after(get())) == 504
    assert elapsed.seconds == 5 * 50 + 60


async def test_a_request_that_has_ended_has_no_time_to_begin() -> None:
    restarts = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        restarts.append(scope["extensions"]["trioserve.timeout_request"]["restart"])
        await hello(scope, receive, send)

    async with serving(app, timeout_request=60) as site:
        client = site.connect()
        await client.send_all(get())
        await receive_response(client)
        restarts[0]()
        with seconds_passed() as elapsed:
            assert await client.receive_rest() == b""  # only the idle connection's time runs
    assert elapsed.seconds == 75
