"""A WebSocket cancelled at each of its awaits in turn: its stream is closed, and nothing of it is left."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.cancelling import VICTIM, Application, at_every_await, has_ended
from tests.helpers.serving import serving
from tests.helpers.ws_client import WebSocketClient, accept, echo, handshake
from tests.helpers.ws_frames import BINARY, CONTINUATION, PING, TEXT, frame
from trioserve import ClientDisconnected
from trioserve._types import Receive, Send
from trioserve.testing import settled

Conversation = Callable[[WebSocketClient], Awaitable[None]]


class Waiting(Application):
    """Waits in every way an application can."""

    async def echo(self, receive: Receive, send: Send) -> None:
        await echo({}, receive, send)

    async def slow(self, receive: Receive, send: Send) -> None:
        """Is busy elsewhere for a second before each answer."""
        await receive()
        await anyio.sleep(1)
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            await anyio.sleep(1)
            await send({"type": "websocket.send", "text": event["text"]})

    async def children(self, receive: Receive, send: Send) -> None:
        async def answer() -> None:
            self.inside += 1
            try:
                while (event := await receive())["type"] == "websocket.receive":
                    await send({"type": "websocket.send", "text": event["text"]})
            finally:
                self.inside -= 1

        await accept(receive, send)
        async with anyio.create_task_group() as children:
            children.start_soon(answer)
            children.start_soon(answer)

    async def deny(self, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.http.response.start", "status": 403})
        for _ in range(3):
            await send({"type": "websocket.http.response.body", "body": b"x" * 50_000, "more_body": True})
        await send({"type": "websocket.http.response.body"})

    async def large(self, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        for _ in range(4):
            await send({"type": "websocket.send", "bytes": b"x" * 100_000})

    async def fail(self, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await anyio.lowlevel.checkpoint()
        raise ValueError


async def messages(client: WebSocketClient) -> None:
    await client.text("a")
    assert await client.receive_text() == "a"
    await client.send(frame(TEXT, b"b", fin=False))
    await settled()
    await client.send(frame(PING), frame(CONTINUATION, b"c"))
    await client.receive()
    assert await client.receive_text() == "bc"
    await client.close(1000)
    await client.receive_rest()


async def messages_while_it_is_busy(client: WebSocketClient) -> None:
    for _ in range(2):
        await client.text("a")
        await anyio.sleep(0.5)
        await client.send(frame(PING))
        await client.receive()
        assert await client.receive_text() == "a"
    await client.close(1000)
    await client.receive_rest()


async def a_slow_reader(client: WebSocketClient) -> None:
    for _ in range(20):
        await anyio.sleep(1)
        await client.stream.receive_exactly(20_000)
    await client.stream.receive_until(b"\x88\x02\x03\xe8")
    await client.close(1000)


async def an_error(client: WebSocketClient) -> None:
    await client.receive()
    await client.close(1011)
    await client.receive_rest()


async def a_mistake(client: WebSocketClient) -> None:
    await client.send(frame(BINARY, b"x", mask=None), b"x" * 100)
    await client.receive_rest()


async def a_silent_client(client: WebSocketClient) -> None:
    await client.stream.receive_rest()


async def a_client_that_leaves(client: WebSocketClient) -> None:
    await client.text("a")
    client.stream.abort()


@pytest.mark.parametrize(("target", "conversation"), [
    ("/echo", messages), ("/slow", messages_while_it_is_busy), ("/children", messages), ("/deny", a_silent_client),
    ("/large", a_slow_reader), ("/fail", an_error), ("/echo", a_mistake), ("/echo", a_silent_client),
    ("/slow", a_client_that_leaves)])
@pytest.mark.parametrize("options", [
    {}, {"on_disconnect": "cancel", "timeout_request": 600, "limit_concurrency": 1, "limit_connections": 1}])
async def test_cancelled_at_every_await(
    target: str, conversation: Conversation, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        app = Waiting()
        async with serving(app, **options) as site:
            stream = site.listener.connect(VICTIM)
            client = WebSocketClient(stream)
            try:
                await stream.send_all(handshake(target=target))
                await stream.receive_until(b"\r\n\r\n")
                await conversation(client)
                stream.send_eof()
            except (ClientDisconnected, EOFError):
                pass  # cancelled under way
            await has_ended(site, app, stream)
            other = WebSocketClient(site.connect())  # every slot has been given back
            await other.stream.send_all(handshake(target="/echo"))
            await other.stream.receive_until(b"\r\n\r\n")
            await messages(other)
            await other.stream.aclose()

    assert await at_every_await(monkeypatch, scenario) > 0
