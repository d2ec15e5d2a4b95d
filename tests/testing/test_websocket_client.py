"""The WebSocket client of trioserve.testing."""

import anyio
import pytest

from trioserve._types import Receive, Scope, Send
from trioserve.testing import WebSocketClosed, WebSocketRefused, open_test_server, seconds_passed


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    assert await receive() == {"type": "websocket.connect"}
    if scope["path"] == "/refused":
        await send({"type": "websocket.close"})
        return
    if scope["path"] == "/denied":
        await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-why", b"secret")]})
        await send({"type": "websocket.http.response.body", "body": b"who ", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"are you?"})
        return
    [*offered] = scope["subprotocols"]
    await send({"type": "websocket.accept", "subprotocol": offered[-1] if offered else None,
                "headers": [(b"x-cookie", dict(scope["headers"]).get(b"cookie", b""))]})
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("text") == "close":
            await send({"type": "websocket.close", "code": 4000, "reason": "as you wish"})
            return
        await send({**message, "type": "websocket.send"})
    ends.append(message["code"])


ends: list[int] = []


async def test_messages_of_both_kinds() -> None:
    async with open_test_server(app, lifespan="off") as server, server.websocket() as websocket:
        for message in ("grüß dich", b"\x00\xff", "", b"", "x" * 100_000):
            await websocket.send(message)
            assert await websocket.receive() == message


async def test_the_handshake() -> None:
    async with (
        open_test_server(app, lifespan="off") as server,
        server.websocket("/chat", headers={"cookie": "a=b"}, subprotocols=["one", "two"], deflate=True) as websocket,
    ):
        assert websocket.subprotocol == "two"
        assert (b"x-cookie", b"a=b") in websocket.headers
        await websocket.send("x" * 10_000)
        assert await websocket.receive() == "x" * 10_000


async def test_the_end_of_the_block_closes() -> None:
    ends.clear()
    async with open_test_server(app, lifespan="off") as server:
        async with server.websocket() as websocket:
            await websocket.send("under way")
        assert ends == [1000]


async def test_a_close_of_the_server() -> None:
    async with open_test_server(app, lifespan="off") as server, server.websocket() as websocket:
        await websocket.send("close")
        with pytest.raises(WebSocketClosed, match="as you wish") as closed:
            await websocket.receive()
        assert (closed.value.code, closed.value.reason) == (4000, "as you wish")
        with pytest.raises(WebSocketClosed):
            await websocket.send("too late")


async def test_a_close_with_a_code() -> None:
    ends.clear()
    async with open_test_server(app, lifespan="off") as server, server.websocket() as websocket:
        await websocket.close(4321)
        assert ends == [4321]


@pytest.mark.parametrize(
    ("path", "status", "body"), [("/refused", 403, b"Forbidden\n"), ("/denied", 401, b"who are you?")])
async def test_a_refusal(path: str, status: int, body: bytes) -> None:
    async with open_test_server(app, lifespan="off") as server:
        with pytest.raises(WebSocketRefused) as refused:
            async with server.websocket(path):
                raise AssertionError
        assert (refused.value.status, refused.value.body) == (status, body)
        assert ((b"x-why", b"secret") in refused.value.headers) == (status == 401)


async def test_a_shutdown_is_1012() -> None:
    async with open_test_server(app, lifespan="off") as server, server.websocket() as websocket:
        async with anyio.create_task_group() as nursery:
            nursery.start_soon(server.shutdown)
            with pytest.raises(WebSocketClosed) as closed:
                await websocket.receive()
        assert closed.value.code == 1012


async def test_a_ping_is_answered_while_the_client_receives() -> None:
    async with (
        open_test_server(app, lifespan="off", ws_ping_interval=10, ws_ping_timeout=5) as server,
        server.websocket() as websocket,
    ):
        with anyio.move_on_after(60):
            await websocket.receive()
        await websocket.ping(b"and the other way round")
        await websocket.send("still there")
        assert await websocket.receive() == "still there"


async def test_a_client_that_vanishes_answers_no_ping() -> None:
    closed = anyio.Event()

    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        assert (await receive())["type"] == "websocket.disconnect"
        closed.set()

    async with open_test_server(waits, lifespan="off", ws_ping_interval=10, ws_ping_timeout=5) as server:
        async with server.websocket() as websocket:
            websocket.connection.vanish()
        with seconds_passed() as elapsed:
            await closed.wait()
        assert elapsed.seconds == 15


async def test_a_reset_of_the_server_is_an_abnormal_end() -> None:
    async def breaks(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    async with open_test_server(breaks, lifespan="off") as server, server.websocket() as websocket:
        await websocket.connection.send(b"\xff")  # no frame: reserved bits
        with pytest.raises(WebSocketClosed) as closed:
            await websocket.receive()
        assert closed.value.code == 1002


async def test_an_end_without_a_close_frame_is_1006() -> None:
    async def floods(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            await send({"type": "websocket.send", "bytes": bytes(1000)})

    async with (
        open_test_server(floods, lifespan="off", timeout_write=20, in_flight_bytes=100) as server,
        server.websocket() as websocket,
    ):
        websocket.connection.stop_reading()
        await anyio.sleep(60)
        with pytest.raises(WebSocketClosed) as closed:
            await websocket.send("is anybody there?")
        assert closed.value.code == 1006
        with pytest.raises(WebSocketClosed, match="1006"):
            await websocket.receive()


async def test_an_end_without_a_close_frame_while_it_listens() -> None:
    async def accepts(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    async with open_test_server(accepts, lifespan="off") as server, server.websocket() as websocket:
        websocket.connection.stop_reading()
        async with anyio.create_task_group() as nursery:
            nursery.start_soon(server.shutdown)
            with pytest.raises(WebSocketClosed, match="1006"):
                await websocket.receive()
