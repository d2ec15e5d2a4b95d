"""Keep-alive pings, the reader beside an application that is busy elsewhere, and what neither may do."""

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.serving import Site, serving
from tests.helpers.ws_client import (
    WebSocketClient,
    accept,
    echo,
    open_websocket,
    receive_until_disconnect,
    the_websocket,
)
from tests.helpers.ws_frames import BINARY, PING, PONG, TEXT, Frame, close_frame, frame
from trioserve._connection import turn
from trioserve._connection.websocket import frames as websocket_frames
from trioserve._connection.websocket.ahead import READ_AHEAD_BYTES, ReadAhead
from trioserve._connection.websocket_limits import WATCH_SECONDS
from trioserve._types import Message, Receive, Scope, Send
from trioserve.testing import seconds_passed, settled

A_MOMENT = 1.0  # longer than it takes until somebody else reads for an application


class Busy:
    """Accepts, does something else for a time, then receives until the end."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.events: list[Message] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await anyio.sleep(self.seconds)
        self.events += await receive_until_disconnect(receive)

    @property
    def messages(self) -> list[Any]:
        return [event.get("text", event.get("bytes")) for event in self.events[:-1]]

    @property
    def end(self) -> tuple[int, str]:
        assert self.events[-1]["type"] == "websocket.disconnect"
        return self.events[-1]["code"], self.events[-1]["reason"]


async def idle(scope: Scope, receive: Receive, send: Send) -> None:
    """Never receives again."""
    await accept(receive, send)
    await anyio.sleep_forever()


# -- keep-alive pings --------------------------------------------------------------------------------------------------


async def test_an_idle_client_is_pinged() -> None:
    async with serving(echo, ws_ping_interval=20, ws_ping_timeout=5) as site:
        client = await open_websocket(site)
        for _ in range(3):
            with seconds_passed() as elapsed:
                assert await client.receive() == Frame(PING, b"")
            assert elapsed.seconds == 20
            await client.send(frame(PONG))
        await client.say_goodbye()


@pytest.mark.parametrize(("interval", "patience", "seconds"), [(20, 5, 25), (5, 20, 25), (20, 20, 40)])
@pytest.mark.parametrize("app", [echo, idle])
async def test_a_client_that_gives_no_sign_of_life_is_dropped(
    app: Any, interval: float, patience: float, seconds: float
) -> None:
    async with serving(app, ws_ping_interval=interval, ws_ping_timeout=patience) as site:
        with seconds_passed() as elapsed:
            client = await open_websocket(site)
            ping, close = await client.receive_rest()
        assert elapsed.seconds == seconds
        assert (ping.opcode, close.close_code) == (PING, 1011)
        assert client.stream.lost


async def test_the_application_is_told_of_a_loss() -> None:
    app = Busy(0)
    async with serving(app) as site:
        await open_websocket(site)
        await anyio.sleep(100)
        assert site.connections == 0
    assert app.end == (1006, "keep-alive ping timeout")


@pytest.mark.parametrize("sign", [frame(PONG), frame(PONG, b"unasked"), frame(TEXT, b"a"), frame(PING), b"\x81"])
async def test_whatever_arrives_is_a_sign_of_life(sign: bytes) -> None:
    async with serving(Busy(0), ws_ping_interval=20, ws_ping_timeout=5) as site:
        client = await open_websocket(site)
        await anyio.sleep(24)
        await client.send(sign)
        await anyio.sleep(10)
        assert site.connections == 1
        await anyio.sleep(20)
        assert site.connections == 0


async def test_a_client_that_only_listens_is_served() -> None:
    async def ticker(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        for _ in range(100):
            await anyio.sleep(1)
            await send({"type": "websocket.send", "text": "tick"})

    async with serving(ticker) as site:
        client = await open_websocket(site)
        ticks = 0
        while ticks < 100:
            received = await client.receive()
            if received.opcode == PING:
                await client.send(frame(PONG, received.payload))
            else:
                ticks += 1
        await client.close(1000)
        await client.receive_rest()
        await client.stream.aclose()


async def test_pings_can_be_switched_off() -> None:
    async with serving(echo, ws_ping_interval=None) as site:
        client = await open_websocket(site)
        await anyio.sleep(10_000)
        await client.text("still there")
        assert await client.receive_text() == "still there"
        await client.say_goodbye()


async def test_pings_without_a_deadline() -> None:
    async with serving(echo, ws_ping_interval=20, ws_ping_timeout=None) as site:
        client = await open_websocket(site)
        await anyio.sleep(1000)
        await client.text("still there")
        assert await client.receive() == Frame(PING, b"")
        await client.stream.receive_some()
        await client.say_goodbye()


async def test_after_the_close_frame_there_are_no_pings() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await send({"type": "websocket.close"})

    async with serving(app, ws_ping_interval=1, ws_ping_timeout=1) as site:
        client = await open_websocket(site)
        with seconds_passed() as elapsed:
            [close] = await client.receive_rest()
        assert (close.close_code, elapsed.seconds) == (1000, 5)  # the answer to a close frame has its own time
        assert client.stream.lost


async def test_an_answer_that_is_there_when_the_time_is_over_counts() -> None:
    """As after the server itself was stopped for a while."""
    async with serving(Busy(0), ws_ping_interval=20, ws_ping_timeout=5) as site:
        client = await open_websocket(site)
        assert await client.receive() == Frame(PING, b"")
        await settled()
        _, websocket = the_websocket(site)
        assert websocket._frames is not None
        client.stream.send_nowait(frame(PONG))
        websocket._frames._keep_alive.on_timeout("pong")
        await settled()
        assert site.connections == 1
        await client.say_goodbye()


async def test_a_close_that_is_there_when_the_time_is_over_counts() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)

    async with serving(app) as site:
        client = await open_websocket(site)
        assert await client.receive_close() == 1000
        await settled()
        _, websocket = the_websocket(site)
        assert websocket._frames is not None
        client.stream.send_nowait(close_frame(1000))
        websocket._frames._closing.on_timeout("close")
        await settled()
        assert websocket.end_reason == ""
        assert await client.receive_rest() == []
        assert site.connections == 0


async def says_much(scope: Scope, receive: Receive, send: Send) -> None:
    """And closes at once: the client has most of it still to take."""
    await accept(receive, send)
    for _ in range(3):
        await send({"type": "websocket.send", "bytes": b"x" * 10_000})
    await send({"type": "websocket.close", "code": 4000})


async def test_the_time_for_an_answer_begins_when_the_client_has_come_to_the_close_frame() -> None:
    async with serving(says_much, ws_ping_interval=None) as site:
        client = await open_websocket(site)
        for _ in range(3):
            await anyio.sleep(12)  # longer than the answer may take
            assert await client.receive() == Frame(BINARY, b"x" * 10_000)
        assert await client.receive_close() == 4000
        await anyio.sleep(4.9)
        await client.close(4000)
        assert await client.receive_rest() == []
        assert not client.stream.lost


async def test_a_client_that_takes_nothing_before_a_close_frame_is_given_up() -> None:
    async with serving(says_much, timeout_write=None) as site:
        client = await open_websocket(site)
        with seconds_passed() as elapsed:
            await client.stream.wait_disconnected()
        assert 30 <= elapsed.seconds <= 36  # it may have taken something together with the handshake's answer
        assert client.stream.lost


# -- while the application does not receive ----------------------------------------------------------------------------


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


# -- tasks of the application's own ------------------------------------------------------------------------------------


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
