"""httpx over connections in memory."""

import sys

import anyio
import httpx
import pytest

from tests.helpers.apps import hello, part, read_body, reply, start
from trioserve import ConfigError
from trioserve._types import Receive, Scope, Send
from trioserve.testing import open_test_server, seconds_passed


async def shop(scope: Scope, receive: Receive, send: Send) -> None:
    """Says who asks, and for what."""
    if scope["path"] == "/slow":
        await anyio.sleep(60)
    if scope["path"] == "/stream":
        await start(send)
        for number in range(3):
            await anyio.sleep(1)
            await part(send, b"%d" % number)
        await part(send, b"", more=False)
        return
    body = await read_body(receive)
    text = f"{scope['http_version']} {scope['method']} {scope['path']}?{scope['query_string'].decode()} {len(body)}"
    await reply(send, text.encode(), headers=[(b"x-host", dict(scope["headers"])[b"host"])])


async def test_requests_share_a_connection() -> None:
    async with open_test_server(shop, lifespan="off") as server, server.client() as client:
        first = await client.get("/a", params={"q": "1"})
        second = await client.post("/b", content=bytes(200_000))
        assert (first.status_code, first.text, first.headers["x-host"]) == (200, "1.1 GET /a?q=1 0", "test")
        assert second.text == "1.1 POST /b? 200000"
        assert server.connections == 1


async def test_requests_at_once_have_connections_of_their_own() -> None:
    async with open_test_server(shop, lifespan="off") as server, server.client() as client:
        with seconds_passed() as elapsed:
            async with anyio.create_task_group() as nursery:
                for _ in range(3):
                    nursery.start_soon(client.get, "/stream")
                await anyio.sleep(1)
                assert server.connections == 3
        assert elapsed.seconds == 3


async def test_a_response_is_read_as_it_comes() -> None:
    began = anyio.current_time()
    async with (
        open_test_server(shop, lifespan="off") as server,
        server.client() as client,
        client.stream("GET", "/stream") as response,
    ):
        assert [(part, anyio.current_time() - began) async for part in response.aiter_bytes()] == [
            (b"0", 1), (b"1", 2), (b"2", 3)]


async def test_timeouts_of_the_client_are_virtual() -> None:
    async with open_test_server(shop, lifespan="off") as server, server.client() as client:
        with seconds_passed() as elapsed, pytest.raises(httpx.ReadTimeout):
            await client.get("/slow", timeout=30)
        assert elapsed.seconds == 30


async def test_a_connection_that_the_server_has_closed_is_not_used_again() -> None:
    async with open_test_server(shop, lifespan="off", timeout_keep_alive=5) as server, server.client() as client:
        await client.get("/")
        await anyio.sleep(6)
        assert server.connections == 0
        assert (await client.get("/")).status_code == 200


async def test_http_2() -> None:
    async with (
        open_test_server(shop, lifespan="off", http2=True) as server,
        server.client(http2=True) as client,
    ):
        answers: list[httpx.Response] = []

        async def ask(path: str) -> None:
            answers.append(await client.get(path))

        async with anyio.create_task_group() as nursery:
            for path in ("/a", "/b"):
                nursery.start_soon(ask, path)
        assert {answer.text for answer in answers} == {"2 GET /a? 0", "2 GET /b? 0"}
        assert answers[0].http_version == "HTTP/2"
        assert server.connections == 1


async def test_https_says_what_to_do() -> None:
    async with open_test_server(hello) as server, server.client() as client:
        with pytest.raises(httpx.UnsupportedProtocol, match="take http://"):
            await client.get("https://test/")


async def test_a_server_that_has_stopped() -> None:
    async with open_test_server(hello) as server, server.client() as client:
        await server.shutdown()
        with pytest.raises(httpx.ConnectError):
            await client.get("/")


async def test_a_client_that_gives_up_an_upload_has_left() -> None:
    left: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(10)
        while (message := await receive())["type"] == "http.request":
            pass
        left.append(message["type"])

    async with open_test_server(app, lifespan="off", in_flight_bytes=1000) as server, server.client() as client:
        with anyio.move_on_after(5):
            await client.post("/", content=bytes(100_000))
        await anyio.sleep(10)
    assert left == ["http.disconnect"]


async def test_a_response_that_is_cut_short() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"begun")
        raise OSError("a planted error")

    async with open_test_server(app, lifespan="off") as server, server.client() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/")


async def test_http_2_needs_a_server_that_speaks_it() -> None:
    async with open_test_server(hello) as server:
        with pytest.raises(ConfigError, match="only with http2=True"):
            server.client(http2=True)


async def test_httpx_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "trioserve.testing.http", raising=False)
    monkeypatch.setitem(sys.modules, "httpcore", None)
    async with open_test_server(hello) as server:
        with pytest.raises(RuntimeError, match=r"httpcore is not installed: install trioserve\[testing\]"):
            server.client()


async def test_an_upload_that_nobody_takes_meets_the_timeout_of_the_client() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(60)

    async with (
        open_test_server(app, lifespan="off", in_flight_bytes=1000, timeout_body=None) as server,
        server.client(timeout=7) as client,
    ):
        with seconds_passed() as elapsed, pytest.raises(httpx.WriteTimeout):
            await client.post("/", content=bytes(1_000_000))
        assert elapsed.seconds == 7


async def test_a_refusal_reaches_a_client_that_still_sends() -> None:
    async with open_test_server(hello, lifespan="off", in_flight_bytes=1000) as server, server.client() as client:
        assert (await client.get("/", headers={"x": "y" * 300_000})).status_code == 431
