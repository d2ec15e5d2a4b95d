"""The longest life of a WebSocket, ``--ws-max-age``."""

import anyio
import pytest

from tests.helpers.serving import serving
from tests.helpers.ws_client import accept, echo, open_websocket, receive_until_disconnect
from tests.helpers.ws_frames import PONG, frame
from trioserve._types import Message, Receive, Scope, Send
from trioserve.testing import seconds_passed, settled

OLD = (1001, "open for long enough")


async def test_both_sides_are_told_when_it_is_old() -> None:
    events: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        events.extend(await receive_until_disconnect(receive))

    async with serving(app, ws_max_age=3600, ws_ping_interval=None) as site:
        with seconds_passed() as elapsed:
            client = await open_websocket(site)
            read = await client.receive()
        assert elapsed.seconds == 3600
        assert (read.close_code, read.close_reason) == OLD
        await client.close(1001)
        assert await client.receive_rest() == []
        await client.stream.aclose()
        await settled()
        assert site.connections == 0
    assert events == [{"type": "websocket.disconnect", "code": 1001, "reason": OLD[1]}]


async def test_messages_do_not_make_it_younger() -> None:
    async with serving(echo, ws_max_age=60, ws_ping_interval=None) as site:
        with seconds_passed() as elapsed:
            client = await open_websocket(site)
            for _ in range(5):
                await anyio.sleep(11)
                await client.text("still here")
                assert await client.receive_text() == "still here"
            assert await client.receive_close() == 1001
        assert elapsed.seconds == 60


async def test_it_counts_from_the_end_of_the_handshake() -> None:
    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(30)
        await accept(receive, send)
        await receive_until_disconnect(receive)

    async with serving(late, ws_max_age=60, ws_ping_interval=None) as site:
        with seconds_passed() as elapsed:
            client = await open_websocket(site)
            assert await client.receive_close() == 1001
        assert elapsed.seconds == 90


async def test_an_application_that_does_something_else_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    ended = anyio.Event()

    async def busy(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await anyio.sleep(100)
        ended.set()

    async with serving(busy, ws_max_age=60, ws_ping_interval=None) as site:
        client = await open_websocket(site)
        assert await client.receive_close() == 1001
        await client.close(1001)
        await ended.wait()
    assert not caplog.records


async def test_one_that_was_closed_before_is_left_alone() -> None:
    async with serving(echo, ws_max_age=60, ws_ping_interval=None) as site:
        client = await open_websocket(site)
        await anyio.sleep(59)
        await client.say_goodbye()
        await anyio.sleep(100)
        assert site.connections == 0


async def test_by_default_it_lives_for_ever() -> None:
    async with serving(echo) as site:
        client = await open_websocket(site)
        for _ in range(3 * 60 * 24):  # a day
            await client.receive()
            await client.send(frame(PONG))
        await client.say_goodbye()
