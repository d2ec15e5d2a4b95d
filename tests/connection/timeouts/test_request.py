"""``--timeout-request``, and timeouts that are off."""

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
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


@pytest.mark.parametrize("with_work", [False, True])
async def test_request_timeout_makes_a_request_the_last_of_its_connection(
    with_work: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Although its application completes the response: the one of the next request would be cancelled, too."""
    served: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        served.append(scope["path"])
        if scope["path"] != "/slow":
            await reply(send, b"done")
            await anyio.sleep(20)
            return
        await start(send, headers=[(b"content-length", b"8")])
        await part(send, b"be")
        with suppress(anyio.get_cancelled_exc_class()):
            await anyio.sleep(100)
        await part(send, b"stowed", more=False)

    async with serving(app, timeout_request=5) as site:
        client = site.connect()
        if with_work:
            await client.send_all(get("/work"))
            assert await receive_response(client) == ok(b"done")
        await client.send_all(get("/slow") + get("/next"))
        assert await client.receive_rest() == ok(b"bestowed")
    assert served == ["/work", "/slow"] if with_work else ["/slow"]
    assert caplog.text.count("request-timeout") == 1


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
