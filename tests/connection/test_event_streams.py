"""Event streams have no end of their own: when the server stops, it is as if their clients had left."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from tests.helpers.apps import part, read_body, start
from tests.helpers.serving import Site, serving
from tests.helpers.transcripts import get, post
from trioserve import ClientDisconnected
from trioserve._types import Receive, Scope, Send
from trioserve.testing import seconds_passed, settled

Behaviour = Callable[[Scope, Receive, Send], Awaitable[None]]
EVENT = b"data: tick\n\n"


class EventSource:
    """An application that begins an event stream, and then behaves as the test says; notes how that ended."""

    def __init__(self, behave: Behaviour, media_type: bytes = b"text/event-stream") -> None:
        self.behave = behave
        self.media_type = media_type
        self.ended = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        await start(send, 200, [(b"Content-Type", self.media_type)])
        await part(send, EVENT)
        self.ended = "cancelled"
        await self.behave(scope, receive, send)
        self.ended = "by itself"


async def listen(scope: Scope, receive: Receive, send: Send) -> None:
    """As sse-starlette and MCP do: nothing else is sent, somebody waits for the client to leave."""
    assert await receive() == {"type": "http.disconnect"}


async def poll(scope: Scope, receive: Receive, send: Send) -> None:
    """As Starlette's ``Request.is_disconnected`` does."""
    while True:
        with anyio.CancelScope() as at_once:
            at_once.cancel()
            assert await receive() == {"type": "http.disconnect"}
            return
        await anyio.sleep(0.1)


async def tick(scope: Scope, receive: Receive, send: Send) -> None:
    """As a generator behind a ``StreamingResponse`` does."""
    while True:
        await part(send, EVENT)
        await anyio.sleep(0.1)


async def sleep(scope: Scope, receive: Receive, send: Send) -> None:
    await anyio.sleep_forever()


async def say_goodbye(scope: Scope, receive: Receive, send: Send) -> None:
    await scope["extensions"]["trioserve.shutdown"]["wait"]()
    await anyio.sleep(0.4)
    await part(send, b"event: bye\n\n", more=False)


async def stop_with_a_stream(site: Site, request: bytes) -> tuple[bytes, float]:
    """What a client gets that has begun to read an event stream when the server stops, and in how many seconds."""
    client = site.connect()
    await client.send_all(request)
    await client.receive_until(EVENT)
    await anyio.sleep(5)
    with seconds_passed() as elapsed:
        site.server.request_shutdown("test")
        rest = await client.receive_rest()
        await client.aclose()
    return rest, elapsed.seconds


@pytest.mark.parametrize(
    ("behave", "ended", "seconds"),
    [(listen, "by itself", 0), (poll, "by itself", 0.1), (tick, "cancelled", 0.5), (sleep, "cancelled", 0.5)])
async def test_an_event_stream_ends_soon(
    behave: Behaviour, ended: str, seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trioserve")
    app = EventSource(behave)
    async with serving(app, timeout_graceful_shutdown=None) as site:
        rest, elapsed = await stop_with_a_stream(site, get("/events"))
    assert app.ended == ended
    assert elapsed <= seconds + 0.001
    assert not rest.endswith(b"0\r\n\r\n")  # it was cut short, which its client can see
    reasons = [record for record in caplog.records if record.getMessage().startswith("shutdown: ended GET /events")]
    assert [record.levelno for record in reasons] == ([logging.INFO] if ended == "cancelled" else [])
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_an_application_has_time_to_say_goodbye() -> None:
    app = EventSource(say_goodbye)
    async with serving(app, timeout_graceful_shutdown=None) as site:
        rest, elapsed = await stop_with_a_stream(site, get())
    assert rest.endswith(b"event: bye\n\n\r\n0\r\n\r\n")
    assert app.ended == "by itself"
    assert elapsed == pytest.approx(0.4)


async def test_who_has_been_told_may_take_its_time() -> None:
    async def clean_up(scope: Scope, receive: Receive, send: Send) -> None:
        await listen(scope, receive, send)
        with pytest.raises(ClientDisconnected):
            await part(send, EVENT)
        await anyio.sleep(7)

    app = EventSource(clean_up)
    async with serving(app) as site:
        _, elapsed = await stop_with_a_stream(site, get())
    assert app.ended == "by itself"
    assert elapsed == pytest.approx(7)


@pytest.mark.parametrize(
    ("options", "request_", "media_type", "seconds"),
    [
        ({}, get(), b"text/event-stream", 0),
        ({}, get(), b"Text/Event-Stream; charset=utf-8", 0),
        ({}, get(), b"text/event-streams", 9),
        ({}, get(), b"application/x-ndjson", 9),
        ({}, post(b"{}"), b"text/event-stream", 9),  # an answer in pieces, such as that of a model: it has an end
        ({"shutdown_event_streams": "all"}, post(b"{}"), b"text/event-stream", 0),
        ({"shutdown_event_streams": "all"}, post(b"{}"), b"text/plain", 9),
        ({"shutdown_event_streams": "none"}, get(), b"text/event-stream", 9),
        ({"on_disconnect": "notify"}, get(), b"text/event-stream", 0),
    ],
)
async def test_which_responses_are_ended(
    options: dict[str, Any], request_: bytes, media_type: bytes, seconds: float
) -> None:
    app = EventSource(listen, media_type)
    async with serving(app, timeout_graceful_shutdown=10, **options) as site:
        _, elapsed = await stop_with_a_stream(site, request_)
    assert elapsed == seconds
    assert app.ended == ("cancelled" if seconds else "by itself")


async def test_notify_cancels_nobody() -> None:
    app = EventSource(sleep)
    async with serving(app, timeout_graceful_shutdown=10, on_disconnect="notify") as site:
        _, elapsed = await stop_with_a_stream(site, get())
    assert elapsed == 9


@pytest.mark.parametrize(("behave", "seconds"), [(listen, 0), (sleep, 0.5)])
async def test_a_stream_that_begins_while_the_server_stops(behave: Behaviour, seconds: float) -> None:
    begin = anyio.Event()
    app = EventSource(behave)

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await begin.wait()
        await app(scope, receive, send)

    async with serving(late, timeout_graceful_shutdown=None) as site:
        client = site.connect()
        await client.send_all(get())
        await settled()
        site.server.request_shutdown("test")
        await anyio.sleep(3)
        begin.set()
        with seconds_passed() as elapsed:
            assert EVENT in await client.receive_rest()
            await client.aclose()
    assert elapsed.seconds == seconds


async def test_a_stream_that_has_sent_no_event_yet() -> None:
    """The head waits for the first part of the body, so its client has nothing; it connects again."""
    ended = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        await start(send, 200, [(b"content-type", b"text/event-stream")])
        assert await receive() == {"type": "http.disconnect"}
        ended.set()

    async with serving(app, timeout_graceful_shutdown=None) as site:
        client = site.connect()
        await client.send_all(get())
        await settled()
        site.server.request_shutdown("test")
        await ended.wait()
        assert await client.receive_rest() == b""
        assert client.lost


async def test_a_stream_that_ends_meanwhile_leaves_nothing_behind() -> None:
    async def end(scope: Scope, receive: Receive, send: Send) -> None:
        await scope["extensions"]["trioserve.shutdown"]["wait"]()
        await part(send, b"", more=False)

    app = EventSource(end)
    async with serving(app, timeout_graceful_shutdown=None) as site:
        rest, elapsed = await stop_with_a_stream(site, get())
    assert rest == b"\r\n0\r\n\r\n"
    assert elapsed == 0
