"""Clients that misbehave, and what the server makes of them."""

import anyio
import pytest

from tests.helpers.apps import echo, part, reply, start
from trioserve._types import Receive, Scope, Send
from trioserve.testing import open_test_server, raw_request, seconds_passed


async def endless(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send)
    while True:
        await part(send, bytes(1000))


async def test_a_slow_upload() -> None:
    request = raw_request("POST", "/", bytes(300), headers={"connection": "close"})
    async with open_test_server(echo, lifespan="off") as server:
        client = server.connect()
        with seconds_passed() as elapsed:
            await client.send_slowly(request, bytes_per_second=100)
            assert (await client.receive_rest()).endswith(bytes(300))
    assert elapsed.seconds == (len(request) - 1) // 100


async def test_a_dripping_head_meets_its_timeout() -> None:
    async with open_test_server(echo, lifespan="off", timeout_header=10) as server:
        client = server.connect()
        with seconds_passed() as elapsed:
            async with anyio.create_task_group() as nursery:
                nursery.start_soon(client.drip, raw_request(headers={"x": "y" * 1000}))
                assert (await client.receive()).startswith(b"HTTP/1.1 408 ")
                nursery.cancel_scope.cancel()
    assert elapsed.seconds == 10


async def test_a_slow_reader() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, bytes(3000))

    async with open_test_server(app, lifespan="off", in_flight_bytes=1000) as server:
        client = server.connect()
        await client.send(raw_request(headers={"connection": "close"}))
        with seconds_passed() as elapsed:
            received = await client.receive_slowly(bytes_per_second=100)
    assert received.endswith(bytes(3000))
    assert elapsed.seconds >= len(received) // 100


async def test_a_half_closed_client_gets_its_answer() -> None:
    async with open_test_server(echo, lifespan="off") as server:
        client = server.connect()
        await client.send(raw_request("POST", "/", b"abc"))
        await client.send_eof()
        assert (await client.receive_rest()).endswith(b"abc")


async def test_a_client_that_stops_reading_meets_the_write_timeout() -> None:
    async with open_test_server(endless, lifespan="off", timeout_write=20) as server:
        client = server.connect()
        client.stop_reading()
        await client.send(raw_request())
        with seconds_passed() as elapsed:
            assert await client.receive_rest() == b""
        assert 20 <= elapsed.seconds < 40
        assert any("write-timeout" in record.getMessage() for record in server.log)


async def test_a_reset_is_seen_at_once() -> None:
    left: list[float] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        left.append(anyio.current_time())

    async with open_test_server(app, lifespan="off") as server:
        client = server.connect()
        await client.send(raw_request("POST", "/", b"ab", length=1000))
        await anyio.sleep(3)
        client.reset()
        now = anyio.current_time()
        await anyio.sleep(1)
        assert left == [now]
        with pytest.raises(anyio.ClosedResourceError):
            await client.send(b"c")


async def test_a_client_that_vanishes_without_a_word_meets_a_timeout() -> None:
    left: list[float] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        left.append(anyio.current_time())

    async with open_test_server(app, lifespan="off", timeout_body=25) as server:
        client = server.connect()
        await client.send(raw_request("POST", "/", b"ab", length=1000))
        client.vanish()
        now = anyio.current_time()
        await anyio.sleep(60)
        assert left == [now + 25]


@pytest.mark.parametrize("rate", [0, -1])
async def test_a_rate_that_is_none(rate: int) -> None:
    async with open_test_server(echo, lifespan="off") as server:
        with pytest.raises(ValueError, match="at least one byte"):
            await server.connect().send_slowly(b"abc", bytes_per_second=rate)


def test_raw_request() -> None:
    assert raw_request("PUT", "/x", b"ab", length=3, headers={"Host": "b"}) == (
        b"PUT /x HTTP/1.1\r\nhost: b\r\ncontent-length: 3\r\n\r\nab")
