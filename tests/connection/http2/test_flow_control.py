"""Windows and priorities of HTTP/2: how much of a body may be sent, and whose turn it is."""

from typing import Any

import anyio
import pytest

from tests.helpers.apps import part, read_body, reply, start
from tests.helpers.http2_client import http2_client
from tests.helpers.http2_numbers import INITIAL_WINDOW_SIZE
from tests.helpers.serving import serving
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled


async def test_a_shut_window_stops_its_application_only(options: dict[str, Any]) -> None:  # RFC 9113 §5.2.2
    parts_sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal parts_sent
        if scope["path"] == "/small":
            await reply(send, b"small")
            return
        await start(send)
        for _ in range(100):
            await part(send, bytes(65536))
            parts_sent += 1

    async with serving(app, **options) as site, http2_client(site, {INITIAL_WINDOW_SIZE: 10}) as client:
        client.takes_bodies = False
        stream = await client.ask("/large")
        await client.head(stream)
        await settled()
        assert parts_sent <= 4
        assert (await client.get("/small")).body == b"small"


async def test_a_body_that_nobody_takes_is_bounded(options: dict[str, Any]) -> None:
    gate = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await gate.wait()
        await reply(send, b"%d" % len(await read_body(receive)))

    async with serving(app, **options) as site, http2_client(site) as client:
        await client.listen()
        stream = await client.ask(method=b"POST", ends=False)
        let_in = 0
        with anyio.move_on_after(5):
            while True:
                await client.send(stream, bytes(16384))
                let_in += 16384
        assert let_in <= 512 * 1024
        gate.set()
        await client.send(stream, b"", ends=True)
        assert int((await client.answer(stream)).body) >= let_in


async def test_an_end_needs_no_window(options: dict[str, Any]) -> None:  # RFC 9113 §6.9.1
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, bytes(100))
        await anyio.sleep(1)
        await part(send, b"", more=False)

    async with serving(app, **options) as site, http2_client(site, {INITIAL_WINDOW_SIZE: 100}) as client:
        client.takes_bodies = False
        answer = await client.get()
        assert (answer.body, answer.ended) == (bytes(100), True)


async def test_urgent_streams_come_first(options: dict[str, Any]) -> None:  # RFC 9218 §10
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, scope["path"].encode() * 20_000)

    async with serving(app, **options) as site, http2_client(site, {INITIAL_WINDOW_SIZE: 0}) as client:
        client.takes_bodies = False
        streams = [await client.ask("/a", fields=[(b"priority", b"u=5")]), await client.ask("/b"),
                   await client.ask("/c", fields=[(b"priority", b"u=1")])]
        for stream in streams:
            await client.head(stream)
        client.h2.update_settings({INITIAL_WINDOW_SIZE: 40_000})
        await client.say()
        while sum(len(client.answers[stream].body) for stream in streams) < 65_535:
            await client.listen()
        assert [len(client.answers[stream].body) for stream in streams] == [0, 25_535, 40_000]


@pytest.mark.parametrize(("priority", "takes_turns"), [(b"u=2", False), (b"u=2, i", True), (b"", True)])
async def test_streams_of_the_same_urgency(
    options: dict[str, Any], priority: bytes, takes_turns: bool
) -> None:  # RFC 9218 §10
    """One after the other, or in turns: as the client says, and in turns when it says nothing."""
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, bytes(40_000))

    fields = [(b"priority", priority)] if priority else []
    async with serving(app, **options) as site, http2_client(site, {INITIAL_WINDOW_SIZE: 0}) as client:
        client.takes_bodies = False
        streams = [await client.ask(fields=fields) for _ in range(2)]
        for stream in streams:
            await client.head(stream)
        client.h2.update_settings({INITIAL_WINDOW_SIZE: 40_000})
        await client.say()
        while sum(len(client.answers[stream].body) for stream in streams) < 65_535:
            await client.listen()
        first, second = (len(client.answers[stream].body) for stream in streams)
        assert (abs(first - second) <= 16_384 and max(first, second) < 40_000) is takes_turns
