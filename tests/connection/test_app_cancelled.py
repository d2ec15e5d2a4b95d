"""A cancellation that an application answers with an error, and one that nobody asked for."""

import asyncio

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.apps import read_body, reply
from tests.helpers.broken_apps import BrokenApp, assert_lives, beside_hello
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, ok, receive_response, status_of
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled

# -- cancellation, and errors on the way out -----------------------------------------------------------------------


async def raise_while_cancelled(receive: Receive, send: Send) -> None:
    """A nursery puts the error of one child and the cancellation of the others into one group."""
    async def child() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("in cleaning up")

    async with anyio.create_task_group() as children:
        children.start_soon(child)
        children.start_soon(anyio.sleep_forever)


async def test_an_error_in_a_cancelled_request_is_logged_and_ends_nothing_else(
    caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(beside_hello(raise_while_cancelled), timeout_request=1) as site:
        assert status_of(await site.everything_after(get("/broken"))) == 504
        await assert_lives(site)
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
    assert "in cleaning up" in caplog.text


async def test_an_error_in_a_request_that_is_cancelled_for_its_client(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(beside_hello(raise_while_cancelled), on_disconnect="cancel", on_disconnect_grace=0) as site:
        client = site.connect()
        await client.send_all(get("/broken"))
        await anyio.sleep(1)
        await client.aclose()
        await settled()
        assert site.connections == 0
        await assert_lives(site)
    assert "in cleaning up" in caplog.text


async def test_an_error_in_a_request_that_the_end_of_the_server_cancels(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(beside_hello(raise_while_cancelled), timeout_graceful_shutdown=1) as site:
        client = site.connect()
        await client.send_all(get("/broken"))
        await settled()
    assert "in cleaning up" in caplog.text


# -- cancellation that nobody asked for ------------------------------------------------------------------------------

only_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)


async def raise_cancelled(receive: Receive, send: Send) -> None:
    await read_body(receive)
    raise asyncio.CancelledError


async def await_a_cancelled_future(receive: Receive, send: Send) -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def await_a_cancelled_task(receive: Receive, send: Send) -> None:
    task = asyncio.create_task(asyncio.sleep(3600))
    await asyncio.sleep(1)
    task.cancel()
    await task


async def cancel_itself(receive: Receive, send: Send) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(3600)


@only_asyncio
@pytest.mark.parametrize("broken", [raise_cancelled, await_a_cancelled_future, await_a_cancelled_task, cancel_itself])
async def test_a_stray_cancelled_error_is_a_500(broken: BrokenApp, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(beside_hello(broken)) as site:
        assert status_of(await site.everything_after(get("/broken"))) == 500
        await assert_lives(site)
    assert len(caplog.records) == 1


@only_asyncio
async def test_a_stray_cancelled_error_after_the_response_is_only_logged() -> None:
    async def broken(receive: Receive, send: Send) -> None:
        await reply(send, b"done")
        raise asyncio.CancelledError

    async with serving(beside_hello(broken)) as site:
        client = site.connect()
        for _ in range(2):
            await client.send_all(get("/broken"))
            assert await receive_response(client) == ok(b"done")
        await client.send_all(get("/next"))
        assert await receive_response(client) == ok(b"/next")


@only_asyncio
async def test_native_timeouts_of_asyncio_work_in_an_application() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(5):
                await receive()
                await receive()
        except TimeoutError:
            await reply(send, b"timed out")

    async with serving(app) as site:
        client = site.connect()
        for _ in range(2):
            await client.send_all(get())
            assert await receive_response(client) == ok(b"timed out")
