"""``--chaos``: requests of a running server are struck as a seed says, and what is found names its point."""


import random
from contextlib import suppress

import anyio
import pytest

from tests.check.zoo import load_zoo
from tests.helpers.apps import read_body, reply
from trioserve import Config
from trioserve._errors import ConfigError
from trioserve._points import Point, random_point
from trioserve._server import Server
from trioserve._streams.memory import MemoryListener
from trioserve._types import Receive, Scope, Send
from trioserve.testing import WebSocketClosed, WebSocketRefused, open_test_server, raw_request

GET = raw_request()


def chaos_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.getMessage().lower().startswith("chaos")]


async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    for _ in range(3):
        await anyio.sleep(0.1)
    await reply(send)


async def test_a_finding_names_its_point(caplog: pytest.LogCaptureFixture) -> None:
    async with open_test_server(load_zoo("unshielded_finally").app, chaos="cancel@1") as server:
        client = server.connect()
        await client.send(GET)
        await client.receive_rest()
    loud, struck, found = chaos_lines(caplog)
    assert loud.startswith("CHAOS, point cancel@1: ") and loud.endswith("Not for production")
    assert struck == "chaos: GET / was struck at cancel@1"
    assert found.startswith("chaos: cut: it was cancelled, and what it still had to do then was cancelled as well, at ")
    assert "Seats.give_back" in found and found.endswith("See it again with --chaos cancel@1")
    assert [record.levelname for record in caplog.records if record.getMessage().lower().startswith("chaos")] == [
        "WARNING", "WARNING", "ERROR"]


async def lines_of(seed: str, requests: int, caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    async with open_test_server(waiting, chaos=seed) as server:
        for _ in range(requests):
            client = server.connect()
            await client.send(raw_request(headers={"connection": "close"}))
            with anyio.move_on_after(100):
                await client.receive_rest()
            await client.aclose()
    return chaos_lines(caplog)


async def test_a_seed_strikes_at_the_same_points_again(caplog: pytest.LogCaptureFixture) -> None:
    first = await lines_of("1", 10, caplog)
    assert await lines_of("1", 10, caplog) == first
    assert await lines_of("2", 10, caplog) != first
    assert 3 <= len(first) <= 11


async def test_a_client_that_is_made_to_leave(caplog: pytest.LogCaptureFixture) -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await receive()
        seen.append((await receive())["type"])
        with pytest.raises(OSError, match="the client has left"):
            await reply(send)

    async with open_test_server(app, chaos="leave@1") as server:
        client = server.connect()
        await client.send(GET)
        await client.receive()
    assert seen == ["http.disconnect"]


@pytest.mark.parametrize("point", ["leave@1", "leave@2"])
async def test_what_a_framework_makes_of_a_client_that_has_left_is_no_error(
    point: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Starlette raises an exception of its own in its place. The client, which is still there, gets no 500."""
    class Gone(Exception):
        pass

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await anyio.sleep(0.1)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(3):
                await anyio.sleep(0.1)
                await send({"type": "http.response.body", "body": b"part", "more_body": True})
        except OSError as exc:
            raise Gone from exc

    async with open_test_server(app, chaos=point) as server:
        client = server.connect()
        await client.send(GET)
        answer = await client.receive_rest()
    assert f"chaos: GET / was struck at {point}" in chaos_lines(caplog)
    assert b" 500 " not in answer
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_bug_after_a_client_was_made_to_leave_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await anyio.sleep(0.1)
        with suppress(OSError):
            await reply(send)
        raise KeyError("a bug")

    async with open_test_server(app, chaos="leave@0") as server:
        client = server.connect()
        await client.send(GET)
        await client.receive_rest()
    [error] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert error.getMessage().startswith("Exception in the application, serving GET /")


async def test_a_client_that_is_made_to_leave_while_the_application_listens(caplog: pytest.LogCaptureFixture) -> None:
    """One task sends, another one waits for the end of the client: both get to know it."""
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await read_body(receive)

        async def listen() -> None:
            seen.append((await receive())["type"])

        async with anyio.create_task_group() as nursery:
            nursery.start_soon(listen)
            await anyio.sleep(0.1)
            with pytest.raises(OSError, match="the client has left"):
                await reply(send)

    async with open_test_server(app, chaos="leave@2") as server:
        client = server.connect()
        await client.send(GET)
        with anyio.fail_after(60):
            await client.receive()
    assert seen == ["http.disconnect"]


async def test_a_slow_client(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await read_body(receive)
        await reply(send)

    async with open_test_server(app, chaos="slow@1") as server:
        client = server.connect()
        began = anyio.current_time()
        await client.send(GET)
        assert (await client.receive()).startswith(b"HTTP/1.1 200")
        assert anyio.current_time() - began == pytest.approx(2.0)


async def test_a_shutdown_in_the_middle(caplog: pytest.LogCaptureFixture) -> None:
    async with open_test_server(waiting, chaos="shutdown@1") as server:
        client = server.connect()
        await client.send(GET)
        assert (await client.receive_rest()).startswith(b"HTTP/1.1 200")  # it is finished first
        await server.reached("STOPPED")
    assert any(record.getMessage() == "Shutting down (chaos)" for record in caplog.records)


async def test_a_stream_of_http2_is_struck_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    """The other streams of its connection go on, and come to their own strikes."""
    async with (
        open_test_server(load_zoo("unshielded_finally").app, chaos="cancel@1", http2=True) as server,
        server.client(http2=True) as client,
        anyio.create_task_group() as streams,
    ):
        for target in ("/a", "/b"):
            streams.start_soon(client.get, target)
    lines = chaos_lines(caplog)
    assert {line for line in lines if "was struck" in line} == {
        "chaos: GET /a was struck at cancel@1", "chaos: GET /b was struck at cancel@1"}
    assert sum("chaos: cut" in line for line in lines) == 2


# WebSockets.


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "websocket"
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        try:
            await anyio.sleep(0.1)
        except BaseException:
            message["text"] = "unknown"
        await send({"type": "websocket.send", "text": message["text"]})


async def test_a_seed_strikes_websockets_at_the_same_points_again(caplog: pytest.LogCaptureFixture) -> None:
    struck = []
    for _ in range(2):
        caplog.clear()
        async with open_test_server(echo, chaos="1", timeout_graceful_shutdown=5) as server:
            for _ in range(6):
                with suppress(WebSocketClosed, WebSocketRefused), anyio.move_on_after(100):
                    async with server.websocket("/chat") as websocket:
                        await websocket.send("hello")
                        await websocket.receive()
        struck.append([line for line in chaos_lines(caplog) if "was struck" in line])
    assert struck[0] == struck[1] != []


async def test_a_finding_about_a_websocket_names_its_point(caplog: pytest.LogCaptureFixture) -> None:
    async with open_test_server(echo, chaos="cancel@1") as server, server.websocket("/chat") as websocket:
        await websocket.send("hello")
        assert await websocket.receive() == "unknown"
        await websocket.close()
    _, struck, found = chaos_lines(caplog)
    assert struck == "chaos: WS /chat was struck at cancel@1"
    assert found.startswith("chaos: swallowed: it was cancelled, and went on") and "[WS /chat, cancel@1]" in found
    assert found.endswith("See it again with --chaos cancel@1")


async def test_a_websocket_that_is_made_to_leave(caplog: pytest.LogCaptureFixture) -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept"})
        seen.append(await receive())
        with pytest.raises(OSError, match="the client has left"):
            await send({"type": "websocket.send", "text": "too late"})

    async with open_test_server(app, chaos="leave@2") as server, server.websocket() as websocket:
        with pytest.raises(WebSocketClosed):
            await websocket.receive()
    assert seen == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]


async def test_a_websocket_that_does_not_notice_its_end(caplog: pytest.LogCaptureFixture) -> None:
    """Without an await in its loop it would keep the event loop for ever."""
    async with open_test_server(load_zoo("deaf_websocket").app, chaos="cancel@1000") as server:
        async with server.websocket() as websocket:
            await websocket.send("hello")
            assert await websocket.receive() == "hello"
        await server.shutdown()
    [_, found] = chaos_lines(caplog)
    assert "endless: it goes on receiving after websocket.disconnect" in found
    assert found.endswith("nothing will come after it.")  # no point has led to it


# The lifespan.


async def test_a_start_up_is_interrupted(caplog: pytest.LogCaptureFixture) -> None:
    """As by Ctrl-C: the server stops, and says what the start-up has made of it."""
    server = Server(load_zoo("interrupted_startup").app, Config(chaos="startup@1"), listeners=[MemoryListener()])
    await server.serve()
    assert server.addresses == []  # it has never listened
    _, struck, found = chaos_lines(caplog)
    assert struck == "chaos: the lifespan was struck at startup@1"
    assert "cut: it was cancelled, and what it still had to do then was cancelled as well" in found
    assert "(strike_off)" in found and found.endswith("See it again with --chaos startup@1")


async def test_a_clean_up_is_interrupted(caplog: pytest.LogCaptureFixture) -> None:
    async with open_test_server(load_zoo("interrupted_startup").app, chaos="cleanup@0") as server:
        await server.shutdown()
    _, struck = chaos_lines(caplog)
    assert struck == "chaos: the lifespan was struck at cleanup@0"


async def test_without_it_nothing_is_wrapped() -> None:
    async with open_test_server(waiting) as server:
        client = server.connect()
        await client.send(GET)
        assert (await client.receive()).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("text", ["seven", "-1", "cancel", "stop@1", ""])
def test_what_is_neither_seed_nor_point(text: str) -> None:
    with pytest.raises(ConfigError, match=r"chaos: .* is neither a seed, such as 7, nor a point"):
        Config(chaos=text)


def test_several_workers_cannot_be_repeated() -> None:
    with pytest.raises(ConfigError, match="chaos: it needs one process"):
        Config(chaos="7", workers=2)


def test_shutdowns_are_rare() -> None:
    points = [random_point(random.Random(seed)) for seed in range(1000)]
    assert 1 <= sum(point.kind == "shutdown" for point in points) <= 50
    assert {point.kind for point in points} == {"cancel", "leave", "pause", "slow", "shutdown"}
    assert Point.parse(str(points[0])) == points[0]
