"""WebSockets when the server stops: 1012 at once, and the deadline for whoever does not go."""

import anyio
import pytest

from tests.helpers.serving import serving
from tests.helpers.ws_client import accept, echo, handshake, open_websocket, receive_until_disconnect
from tests.helpers.ws_frames import TEXT, close_frame, frame
from trioserve._types import Message, Receive, Scope, Send
from trioserve.testing import seconds_passed, settled

STOPPING = {"type": "websocket.disconnect", "code": 1012, "reason": "the server is stopping"}


async def test_clients_and_applications_are_told(caplog: pytest.LogCaptureFixture) -> None:
    events: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        events.extend(await receive_until_disconnect(receive))

    async with serving(app) as site, anyio.create_task_group() as stopping:
        client = await open_websocket(site)
        with seconds_passed() as elapsed:
            stopping.start_soon(site.stop)
            read = await client.receive()
            assert (read.close_code, read.close_reason) == (1012, "the server is stopping")
            await client.close(1012)
            assert await client.receive_rest() == []
            await site.stopped.wait()
        assert elapsed.seconds == 0
    assert events == [STOPPING]
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


async def test_a_client_that_does_not_answer_gets_a_moment() -> None:
    events: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        events.extend(await receive_until_disconnect(receive))

    async with serving(app) as site:
        client = await open_websocket(site)
        with seconds_passed() as elapsed:
            await site.stop()
        assert elapsed.seconds == 5
        assert await client.receive_close() == 1012
    assert events == [STOPPING]


@pytest.mark.parametrize("answers", [True, False])
async def test_an_application_that_does_something_else_has_until_the_deadline(
    answers: bool, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        try:
            await anyio.sleep(3600)
        finally:
            ended.append("cancelled")

    async with serving(app, timeout_graceful_shutdown=20) as site:
        client = await open_websocket(site, target="/busy")
        await settled()
        if answers:
            client.stream.send_nowait(close_frame(1012))
        with seconds_passed() as elapsed:
            await site.stop()
        assert elapsed.seconds == 18  # two seconds are kept for the lifespan
    assert ended == ["cancelled"]
    assert caplog.text.count("shutdown-deadline: ended GET /busy") == 1  # it still runs, whatever its client knows


async def test_a_handshake_that_is_accepted_late_is_closed_at_once() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(3)
        await echo(scope, receive, send)

    async with serving(app) as site, anyio.create_task_group() as stopping:
        client = site.connect()
        await client.send_all(handshake())
        await settled()
        stopping.start_soon(site.stop)
        await client.receive_until(b"\r\n\r\n")
        assert (await client.receive_exactly(4))[2:] == b"\x03\xf4"
        await client.send_all(close_frame(1012))
        await client.receive_rest()
        await client.aclose()


async def test_messages_that_were_kept_are_still_delivered() -> None:
    texts: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await anyio.sleep(5)
        texts.extend(event.get("text", "the end") for event in await receive_until_disconnect(receive))

    async with serving(app) as site, anyio.create_task_group() as stopping:
        client = await open_websocket(site)
        await client.send(frame(TEXT, b"a"), frame(TEXT, b"b"))
        await anyio.sleep(1)
        stopping.start_soon(site.stop)
        assert await client.receive_close() == 1012
        await client.close(1012)
        await client.receive_rest()
        await site.stopped.wait()
    assert texts == ["a", "b", "the end"]


async def test_a_thousand_of_them() -> None:
    async with serving(echo) as site, anyio.create_task_group() as stopping:
        clients = [await open_websocket(site) for _ in range(1000)]
        stopping.start_soon(site.stop)
        for client in clients:
            assert await client.receive_close() == 1012
            await client.close(1012)
        await site.stopped.wait()
        assert site.connections == 0
