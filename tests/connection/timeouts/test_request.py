"""``--timeout-request``, and timeouts that are off."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from tests.helpers.apps import echo, part, reply, start
from tests.helpers.serving import serving
from tests.helpers.timeouts import drip, reasons
from tests.helpers.transcripts import get, looks_whole, ok, post, receive_response, status_of
from trioserve._types import Receive, Scope, Send
from trioserve.testing import seconds_passed

# -- the whole request -----------------------------------------------------------------------------------------------


async def test_request_timeout_before_the_response_is_a_504(caplog: pytest.LogCaptureFixture) -> None:
    ended: list[float] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        began = anyio.current_time()
        try:
            await start(send)
            await anyio.sleep_forever()
        finally:
            ended.append(anyio.current_time() - began)

    async with serving(app, timeout_request=60) as site:
        response = await site.everything_after(get("/slow?a=b"))
    assert status_of(response) == 504
    assert ended == [60]
    assert reasons(caplog) == ["request-timeout"]
    assert re.search(r"request-timeout: ended GET /slow\?a=b after \d+\.\d s, waiting at \S+:\d+ \(\S+app\)",
                     caplog.text)


async def test_request_timeout_after_the_response_has_begun_aborts(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"begun")
        await anyio.sleep_forever()

    async with serving(app, timeout_request=60) as site:
        client = site.connect()
        await client.send_all(get())
        with seconds_passed() as elapsed:
            received = await client.receive_rest()
        assert received.endswith(b"begun\r\n")
        assert not looks_whole(received, client)
    assert elapsed.seconds == 60
    assert reasons(caplog) == ["request-timeout"]


async def swallow_and_return(send: Send) -> None:
    pass


async def swallow_and_reply(send: Send) -> None:
    await reply(send, b"too late")


@pytest.mark.parametrize("afterwards", [swallow_and_return, swallow_and_reply])
async def test_request_timeout_of_an_application_that_swallows_its_cancellation(
    afterwards: Callable[[Send], Awaitable[None]]
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await anyio.sleep_forever()
        except BaseException:
            await afterwards(send)

    async with serving(app, timeout_request=60) as site:
        with seconds_passed() as elapsed:
            assert status_of(await site.everything_after(get())) == 504
    assert elapsed.seconds <= 62


async def test_request_timeout_leaves_requests_in_time_alone() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(59)
        await reply(send)

    async with serving(app, timeout_request=60) as site:
        client = site.connect()
        for _ in range(3):
            await client.send_all(get())
            assert await receive_response(client) == ok(b"")


async def test_request_timeout_names_the_await_in_the_innermost_function(caplog: pytest.LogCaptureFixture) -> None:
    async def query_the_database() -> None:
        await anyio.sleep_forever()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await query_the_database()

    async with serving(app, timeout_request=60) as site:
        await site.everything_after(get())
    assert re.search(r"waiting at \S+test_request\.py:\d+ \(\S+query_the_database\)", caplog.text)


async def test_request_timeout_does_not_reach_other_connections() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(float(scope["path"][1:]))
        await reply(send)

    async with serving(app, timeout_request=60) as site:
        slow = site.connect()
        await slow.send_all(get("/100"))
        await anyio.sleep(30)
        quick = site.connect()
        await quick.send_all(get("/50"))
        assert status_of(await receive_response(slow)) == 504
        assert await receive_response(quick) == ok(b"")


# -- off -------------------------------------------------------------------------------------------------------------


async def test_what_is_off_never_strikes() -> None:
    kinds = ("header", "keep_alive", "body", "write", "request")
    off: dict[str, Any] = {f"timeout_{kind}": None for kind in kinds}
    async with serving(echo, **off) as site:
        silent, uploading, stalled = site.connect(), site.connect(), site.connect()
        await uploading.send_all(post(b"", length=1))
        stalled.send_nowait(post(b"x" * 1_000_000))
        await anyio.sleep(10 * 3600)
        await uploading.send_all(b"x")
        await silent.send_all(post(b"at last"))
        assert await receive_response(silent) == ok(b"at last")
        assert await receive_response(uploading) == ok(b"x")
        assert await receive_response(stalled) == ok(b"x" * 1_000_000)


async def test_a_body_timeout_that_is_off_asks_for_no_rate_either() -> None:
    async with serving(echo, timeout_body=None) as site, anyio.create_task_group() as sending:
        client = site.connect()
        sending.start_soon(drip, client, [post(b"", length=100), *[b"x"] * 100], 60)
        assert await receive_response(client) == ok(b"x" * 100)
        await client.aclose()
