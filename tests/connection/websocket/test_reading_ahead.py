"""What is read of a WebSocket while its application does not receive."""

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.serving import serving
from tests.helpers.ws_apps import A_MOMENT, Busy
from tests.helpers.ws_client import accept, open_websocket, the_websocket
from tests.helpers.ws_frames import BINARY, PING, PONG, TEXT, Frame, close_frame, frame
from trioserve._connection import turn
from trioserve._connection.websocket import frames as websocket_frames
from trioserve._connection.websocket.ahead import READ_AHEAD_BYTES, ReadAhead
from trioserve._connection.websocket_limits import WATCH_SECONDS
from trioserve._types import Message, Receive, Scope, Send


async def test_a_ping_is_answered_while_the_application_is_busy() -> None:
    async with serving(Busy(1000)) as site:
        client = await open_websocket(site)
        for payload in (b"one", b"two"):
            await client.send(frame(PING, payload))
            with anyio.fail_after(A_MOMENT):
                assert await client.receive() == Frame(PONG, payload)
        await client.stream.aclose()


async def test_messages_are_kept_in_order_until_they_are_wanted() -> None:
    app = Busy(10)
    async with serving(app) as site:
        client = await open_websocket(site)
        await client.text("before")
        await anyio.sleep(A_MOMENT)
        await client.send(frame(BINARY, b"1"), frame(PING), frame(TEXT, b"2")[:4])
        assert await client.receive() == Frame(PONG, b"")
        await client.send(frame(TEXT, b"2")[4:])
        await anyio.sleep(10)
        await client.text("after")
        await client.say_goodbye()
    assert app.messages == ["before", b"1", "2", "after"]
    assert app.end == (1000, "")


async def test_a_close_is_answered_while_the_application_is_busy() -> None:
    app = Busy(1000)
    async with serving(app) as site:
        client = await open_websocket(site)
        await client.send(frame(TEXT, b"last words"), close_frame(1001, b"gone"))
        with anyio.fail_after(A_MOMENT):
            [close] = await client.receive_rest()
        assert close.close_code == 1001
        await client.stream.aclose()
        await anyio.sleep(1000)
    assert (app.messages, app.end) == (["last words"], (1001, "gone"))


async def test_a_loss_is_noticed_while_the_application_is_busy() -> None:
    app = Busy(1000)
    async with serving(app) as site:
        client = await open_websocket(site)
        await anyio.sleep(A_MOMENT)
        client.stream.abort()
        await anyio.sleep(1000)
    assert app.end == (1006, "")


async def test_a_mistake_is_answered_while_the_application_is_busy() -> None:
    app = Busy(1000)
    async with serving(app) as site:
        client = await open_websocket(site)
        await client.send(frame(TEXT, b"\xff"))
        with anyio.fail_after(A_MOMENT):
            [close] = await client.receive_rest()
        assert close.close_code == 1007
        await client.stream.aclose()
        await anyio.sleep(1000)
    assert app.end[0] == 1007


@pytest.mark.parametrize("size", [1, 1000, 200_000])
async def test_what_is_read_ahead_is_bounded(size: int) -> None:
    app = Busy(60)
    async with serving(app) as site:
        client = await open_websocket(site)
        message = frame(BINARY, b"x" * size)
        sent = 0
        async with anyio.create_task_group() as sending:

            async def flood() -> None:
                nonlocal sent
                for _ in range(4_000_000 // (size + 40)):
                    await client.send(message)
                    sent += len(message)

            sending.start_soon(flood)
            await anyio.sleep(50)
            _, websocket = the_websocket(site)
            assert websocket._ahead is not None
            assert 0 < sum(map(len, websocket._ahead._parked or ())) <= READ_AHEAD_BYTES + size
            assert sent < 600_000
        await client.say_goodbye()
    assert len(app.messages) == 4_000_000 // (size + 40)
    assert app.end == (1000, "")


async def test_a_client_that_we_do_not_read_from_is_not_dropped_for_its_silence() -> None:
    app = Busy(200)
    async with serving(app) as site:
        client = await open_websocket(site)
        async with anyio.create_task_group() as sending:
            sending.start_soon(client.send, frame(BINARY, b"x" * 1000) * 400)
            await anyio.sleep(150)
            assert site.connections == 1
        await client.close(1000)
        await client.stream.receive_rest()
        await client.stream.aclose()
    assert len(app.messages) == 400


async def test_receiving_and_reading_ahead_take_turns() -> None:
    events: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        while not events or events[-1]["type"] == "websocket.receive":
            events.append(await receive())
            await anyio.sleep(0.5)

    async with serving(app) as site:
        client = await open_websocket(site)
        for index in range(20):
            await client.text(str(index))
            await anyio.sleep(0.3 if index % 4 else 1.7)
        await client.say_goodbye()
    assert [event["text"] for event in events[:-1]] == [str(index) for index in range(20)]


@pytest.mark.parametrize("pause", [0.0, 0.05, 0.5])
async def test_an_application_may_give_up_waiting(pause: float) -> None:
    texts: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        while True:
            with anyio.move_on_after(1):
                event = await receive()
                if event["type"] == "websocket.disconnect":
                    return
                texts.append(event["text"])
            await anyio.sleep(pause)

    async with serving(app) as site:
        client = await open_websocket(site)
        for index in range(10):
            await client.text(str(index))
            await anyio.sleep(0.7)
        await client.say_goodbye()
    assert texts == [str(index) for index in range(10)]


@pytest.mark.parametrize("turns", range(12))
async def test_what_is_read_ahead_keeps_its_order_when_the_application_receives_again(
    turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both give way to others in the middle of what has arrived: here after every message."""
    monkeypatch.setattr(websocket_frames, "LOOK_WORK", 1)
    monkeypatch.setattr(turn, "TURN_SECONDS", 0)
    numbers: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await anyio.sleep(WATCH_SECONDS)  # somebody else begins to read
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        numbers.extend([int((await receive())["text"]) for _ in range(20)])

    async with serving(app) as site:
        client = await open_websocket(site)
        await client.send(b"".join(frame(TEXT, str(index).encode()) for index in range(20)))
        assert await client.receive_close() == 1000
        await client.close(1000)
        await client.receive_rest()
    assert numbers == list(range(20))


async def test_after_its_own_close_the_application_may_be_busy_too() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await send({"type": "websocket.close", "code": 4000})
        await anyio.sleep(100)
        assert await receive() == {"type": "websocket.disconnect", "code": 4000, "reason": ""}

    async with serving(app) as site:
        client = await open_websocket(site)
        assert await client.receive_close() == 4000
        await client.send(frame(TEXT, b"late"), frame(PING), close_frame(4000))
        with anyio.fail_after(A_MOMENT):
            await client.stream.receive_rest()
        await client.stream.aclose()
        await anyio.sleep(100)


async def test_the_readers_own_bug_ends_its_connection_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(ahead: ReadAhead, data: str | bytes) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(ReadAhead, "_park", broken)
    async with serving(Busy(10)) as site:
        client, other = await open_websocket(site), await open_websocket(site)
        await client.text("a")
        await client.stream.receive_rest()
        assert client.stream.lost
        await other.send(frame(PING))
        assert await other.receive() == Frame(PONG, b"")
        await anyio.sleep(20)
        await other.say_goodbye()
    [record] = caplog.records
    assert "Internal error" in record.message
    assert record.exc_info


async def test_a_child_that_takes_what_was_kept_leaves_the_reading_to_others() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def take_all_but_one() -> None:
            await anyio.sleep(10)
            for _ in range(99):
                await receive()
            await anyio.sleep_forever()

        await accept(receive, send)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take_all_but_one)

    async with serving(app) as site:
        client = await open_websocket(site)
        await client.send(frame(BINARY, b"x" * 1000) * 100, frame(PING))
        with anyio.fail_after(15):
            assert await client.receive() == Frame(PONG, b"")
        await client.stream.aclose()
