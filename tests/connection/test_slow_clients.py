"""Clients that take their time: they upload on after the answer, read slowly or not at all, or are late."""

import logging
from typing import Any

import anyio
import pytest

from tests.helpers.apps import read_body, reply
from tests.helpers.serving import Site, serving
from tests.helpers.transcripts import get, ok, post, receive_response, status_of
from trioserve import ClientDisconnected
from trioserve._streams.memory import MemoryClient
from trioserve._types import Receive, Scope, Send
from trioserve.testing import seconds_passed, settled

# -- an early answer -------------------------------------------------------------------------------------------------


async def upload_on(client: MemoryClient, seconds: float) -> None:
    """Each second a little more, without a look at what the server says."""
    for _ in range(int(seconds)):
        await client.send_all(b"x" * 100_000)
        await anyio.sleep(1)


@pytest.mark.parametrize("status", [401, 413])
async def test_an_early_answer_reaches_a_client_that_uploads_on(status: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"no", status)

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(post(length=100_000_000))
        await upload_on(client, 10)
        response = await client.receive_rest()
        assert status_of(response) == status
        assert response.endswith(b"no")
        await client.aclose()
        await settled()
        assert site.connections == 0


async def test_the_answer_to_a_body_above_the_limit_reaches_a_client_that_uploads_on() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, await read_body(receive))

    async with serving(app, limit_request_body=1000) as site:
        client = site.connect()
        await client.send_all(get("/", "transfer-encoding: chunked", method="POST") + b"f4240\r\n")
        await upload_on(client, 10)
        assert status_of(await client.receive_rest()) == 413


async def test_an_upload_that_nobody_reads_ends() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"no", 413)

    async with serving(app) as site:
        for every, longest in ((1, 31.0), (3, 4.0)):
            client = site.connect()
            await client.send_all(post(length=100_000_000))
            with seconds_passed() as elapsed, pytest.raises(ClientDisconnected):
                while True:
                    await client.send_all(b"x")
                    await anyio.sleep(every)
            assert elapsed.seconds <= longest
            await settled()
            assert site.connections == 0


# -- whole responses for slow clients --------------------------------------------------------------------------------

LARGE = b"x" * 8_000_000


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    await reply(send, LARGE)


async def read_at(client: MemoryClient, bytes_per_second: int, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        received += await client.receive_exactly(min(bytes_per_second, count - len(received)))
        await anyio.sleep(1)
    return bytes(received)


@pytest.mark.parametrize("stop", [False, True], ids=["running", "stopping"])
async def test_eight_slow_clients_get_all_of_a_large_response(stop: bool) -> None:
    expected = ok(LARGE)
    received: list[bytes] = []

    async def visit(site: Site) -> None:
        client = site.connect()
        await client.send_all(get())
        received.append(await read_at(client, 400_000, len(expected)))
        await client.aclose()

    options: dict[str, Any] = {"timeout_keep_alive": 5, "timeout_write": 10, "timeout_graceful_shutdown": 30}
    async with serving(large, **options) as site, anyio.create_task_group() as visitors:
        for _ in range(8):
            visitors.start_soon(visit, site)
        if stop:
            await anyio.sleep(1)
            site.server.request_shutdown("test")
    assert all(body == expected for body in received)
    assert len(received) == 8


async def test_keep_alive_begins_when_the_client_has_taken_all() -> None:
    expected = ok(LARGE)
    async with serving(large, timeout_keep_alive=5) as site:
        client = site.connect()
        await client.send_all(get())
        assert await read_at(client, 400_000, len(expected)) == expected
        await anyio.sleep(2)
        await client.send_all(get())
        assert await read_at(client, 400_000, len(expected)) == expected
        with seconds_passed() as elapsed:
            assert await client.receive_some() == b""
        assert 3 <= elapsed.seconds <= 5


async def test_a_client_that_reads_nothing_is_dropped_by_the_write_timeout(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(large, timeout_keep_alive=1000, timeout_write=10) as site:
        client = site.connect()
        await client.send_all(get())
        await anyio.sleep(9.9)
        assert site.connections == 1
        await anyio.sleep(1.5)
        assert site.connections == 0
        assert client.lost
    assert "write-timeout" in caplog.text


async def test_a_client_that_stops_reading_is_dropped_in_time_after_its_last_byte() -> None:
    async with serving(large, timeout_write=10) as site:
        client = site.connect()
        await client.send_all(get())
        await read_at(client, 100_000, 700_000)
        await client.receive_exactly(100_000)
        await anyio.sleep(9.9)
        assert site.connections == 1
        await anyio.sleep(1.5)
        assert site.connections == 0


async def test_a_client_that_pipelines_and_reads_nothing_holds_one_response_in_memory() -> None:
    begun = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal begun
        begun += 1
        await reply(send, LARGE)

    async with serving(app, timeout_write=None) as site:
        client = site.connect()
        await client.send_all(get() * 20)
        await anyio.sleep(100)
        assert begun == 1
        for _ in range(20):
            assert await client.receive_exactly(len(ok(LARGE))) == ok(LARGE)


# -- timeouts that strike late ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("rest", [get("/late"), get("/late") + b"GET /more"])
async def test_a_request_that_came_while_the_loop_was_blocked_is_served(rest: bytes) -> None:
    """The strike and the bytes are there at the same moment, in whatever order the loop looks at them."""
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"ok")

    async with serving(app, timeout_keep_alive=5, timeout_header=5) as site:
        client = site.connect()
        await client.send_all(get())
        await receive_response(client)
        await anyio.sleep(5 - 1e-9)
        client.send_nowait(rest)
        assert await receive_response(client) == ok(b"ok")


async def test_a_head_whose_last_bytes_come_too_late_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Bytes and strike at the same moment: whichever the loop looks at first, the outcome is one."""
    caplog.set_level(logging.DEBUG, "trioserve")
    async with serving(large, timeout_header=5) as site:
        for _ in range(10):
            client = site.connect()
            await client.send_all(b"GET / HTTP/1.1\r\n")
            await anyio.sleep(5 - 1e-9)
            await client.send_all(b"a: b\r\n")
            with seconds_passed() as elapsed:
                assert status_of(await client.receive_rest()) == 408
            assert elapsed.seconds < 0.001
            await client.aclose()
    lines = [record.getMessage() for record in caplog.records if "timeout" in record.getMessage()]
    assert [line.partition(": ")[0] for line in lines] == ["header-timeout"] * 10
