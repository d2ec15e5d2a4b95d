"""Several tasks of an application at one WebSocket."""

from typing import Any

import anyio
import anyio.lowlevel

from tests.helpers.serving import Site, serving
from tests.helpers.ws_apps import A_MOMENT
from tests.helpers.ws_client import WebSocketClient, accept, open_websocket, receive_until_disconnect
from tests.helpers.ws_frames import PING, PONG, TEXT, Frame, frame
from trioserve._types import Message, Receive, Scope, Send
from trioserve.testing import settled


async def test_one_task_receives_and_another_one_sends() -> None:
    received: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def tick() -> None:
            for index in range(5):
                await anyio.sleep(1)
                await send({"type": "websocket.send", "text": f"tick {index}"})

        async def listen() -> None:
            received.extend(await receive_until_disconnect(receive))

        await accept(receive, send)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tick)
            tasks.start_soon(listen)

    async with serving(app) as site:
        client = await open_websocket(site)
        for index in range(5):
            await client.send(frame(TEXT, str(index).encode()), frame(PING))
            assert await client.receive() == Frame(PONG, b"")
            assert await client.receive_text() == f"tick {index}"
        await client.say_goodbye()
    assert [event["text"] for event in received[:-1]] == ["0", "1", "2", "3", "4"]


async def test_a_child_that_gave_up_receiving_leaves_the_reading_to_others() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def try_to_receive() -> None:
            with anyio.move_on_after(1):
                await receive()
            await anyio.sleep_forever()

        await accept(receive, send)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(try_to_receive)

    async with serving(app) as site:
        client = await open_websocket(site)
        await anyio.sleep(5)
        await client.send(frame(PING, b"anybody?"))
        with anyio.fail_after(A_MOMENT):
            assert await client.receive() == Frame(PONG, b"anybody?")
        await client.stream.aclose()


async def test_two_tasks_that_receive_share_the_messages() -> None:
    texts: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def listen() -> None:
            texts.extend(event["text"] for event in (await receive_until_disconnect(receive))[:-1])

        await accept(receive, send)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            tasks.start_soon(listen)

    async with serving(app) as site:
        client = await open_websocket(site)
        for index in range(6):
            await client.text(str(index))
            await settled()
        await client.say_goodbye()
    assert sorted(texts) == ["0", "1", "2", "3", "4", "5"]


async def test_a_task_may_accept_while_another_one_waits() -> None:
    events: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def accept_later() -> None:
            await anyio.sleep(1)
            await send({"type": "websocket.accept"})

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(accept_later)
            events.append(await receive())
            events.append(await receive())

    async with serving(app) as site:
        client = await open_websocket(site)
        await client.text("hello")
        assert await client.receive_close() == 1000
        await client.close(1000)
        await client.receive_rest()
    assert events == [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "hello"}]


async def test_a_task_that_outlives_the_application_finds_it_closed() -> None:
    outcomes: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def late() -> None:
            await anyio.sleep(10)
            outcomes.append(await receive())
            try:
                await send({"type": "websocket.send", "text": "late"})
            except OSError as exc:
                outcomes.append(type(exc).__name__)

        await accept(receive, send)
        outside.start_soon(late)

    async with anyio.create_task_group() as outside, serving(app) as site:
        client = await open_websocket(site)
        await client.close(1000)
        await client.receive_rest()
        await client.stream.aclose()
        await anyio.sleep(20)
    assert outcomes == [{"type": "websocket.disconnect", "code": 1000, "reason": ""}, "ClientDisconnected"]


async def broadcast_to_all(site: Site, count: int) -> list[WebSocketClient]:
    return [await open_websocket(site) for _ in range(count)]


async def test_a_chat() -> None:
    sends: set[Send] = set()

    async def chat(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        sends.add(send)
        try:
            while (event := await receive())["type"] == "websocket.receive":
                for each in list(sends):
                    await each({"type": "websocket.send", "text": event["text"]})
        finally:
            sends.discard(send)

    async with serving(chat) as site:
        clients = await broadcast_to_all(site, 5)
        await settled()
        for index, client in enumerate(clients):
            await client.text(f"from {index}")
            for each in clients:
                assert await each.receive_text() == f"from {index}"
        for client in clients:
            await client.say_goodbye()
    assert not sends
