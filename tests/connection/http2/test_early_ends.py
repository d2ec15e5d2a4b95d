"""Streams of HTTP/2 that end early: their client leaves, or their application fails."""

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.apps import part, reply, start
from tests.helpers.http2_client import http2_client
from tests.helpers.http2_numbers import CANCEL, ENHANCE_YOUR_CALM, INTERNAL_ERROR
from tests.helpers.serving import serving
from trioserve import ClientDisconnected
from trioserve._types import Receive, Scope, Send
from trioserve.testing import seconds_passed, settled

# -- the client leaves -----------------------------------------------------------------------------------------------


async def test_a_reset_is_a_disconnect(options: dict[str, Any]) -> None:
    events: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        events.append((await receive())["type"])
        events.append((await receive())["type"])
        try:
            await reply(send)
        except ClientDisconnected as exc:
            events.append(type(exc))

    async with serving(app, **options) as site, http2_client(site) as client:
        stream = await client.ask()
        await settled()
        other = await client.ask("/other")
        await client.reset(stream)
        assert events == ["http.request", "http.request", "http.disconnect", ClientDisconnected]
        assert not client.answers[other].is_over


async def test_a_reset_cancels_an_application_that_streams_and_does_not_listen(options: dict[str, Any]) -> None:
    ended = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"x")
        try:
            await anyio.sleep(3600)
        finally:
            ended.set()

    async with serving(app, **options) as site, http2_client(site) as client:
        stream = await client.ask()
        await client.head(stream)
        with seconds_passed() as elapsed:
            await client.reset(stream)
            await ended.wait()
        assert elapsed.seconds < 1


async def test_all_streams_are_told_when_the_connection_breaks(options: dict[str, Any]) -> None:
    told = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal told
        await receive()
        assert (await receive())["type"] == "http.disconnect"
        told += 1

    async with serving(app, **options) as site:
        async with http2_client(site) as client:
            for _ in range(3):
                await client.ask()
            await settled()
        await settled()
        assert told == 3


# -- the application fails -------------------------------------------------------------------------------------------


async def test_an_exception_before_the_answer_is_500(options: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("planned")

    async with serving(app, **options) as site, http2_client(site) as client:
        assert (await client.get()).status == 500
        assert (await client.get()).status == 500  # on the same connection


async def test_an_exception_in_the_answer_resets_the_stream(options: dict[str, Any]) -> None:  # RFC 9113 §8.1
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/other":
            await anyio.sleep(1)
            await reply(send, b"whole")
            return
        await start(send)
        await part(send, b"half")
        raise RuntimeError("planned")

    async with serving(app, **options) as site, http2_client(site) as client:
        other = await client.ask("/other")
        answer = await client.get()
        assert (answer.body, answer.reset, answer.ended) == (b"half", INTERNAL_ERROR, False)
        assert (await client.answer(other)).body == b"whole"


async def fails_while_much_is_unsent(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(part, send, bytes(500_000))
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        raise RuntimeError("planned")


@pytest.mark.parametrize("size", [70_000, 500_000])
async def test_what_was_sent_before_an_exception_arrives(options: dict[str, Any], size: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(part, send, bytes(size))  # more than the client's window
            await settled()
            raise RuntimeError("planned")

    async with serving(app, **options) as site, http2_client(site) as client:
        stream = await client.ask()
        await settled()
        answer = await client.answer(stream)
        assert (len(answer.body), answer.reset, answer.ended) == (size, INTERNAL_ERROR, False)
        assert (await client.get()).reset == INTERNAL_ERROR  # the connection goes on


async def test_what_was_sent_before_a_timeout_arrives(options: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, bytes(100_000))
        await anyio.sleep_forever()

    async with serving(app, **options, timeout_request=2) as site, http2_client(site) as client:
        client.takes_bodies = False
        stream = await client.ask()
        await anyio.sleep(3)
        await client.listen()
        assert client.answers[stream].reset is None
        client.takes_bodies = True
        client.h2.increment_flow_control_window(100_000)
        client.h2.increment_flow_control_window(100_000, stream)
        await client.say()
        answer = await client.answer(stream)
        assert (len(answer.body), answer.reset, answer.ended) == (100_000, CANCEL, False)


async def test_a_client_that_does_not_take_what_was_sent_before_an_exception(options: dict[str, Any]) -> None:
    options["timeout_write"] = 8
    async with serving(fails_while_much_is_unsent, **options) as site, http2_client(site) as client:
        client.takes_bodies = False
        with seconds_passed() as elapsed:
            answer = await client.get()
        assert answer.reset == ENHANCE_YOUR_CALM
        assert 8 <= elapsed.seconds <= 9.6


async def test_the_deadline_of_a_shutdown_while_the_rest_of_a_cut_answer_waits(options: dict[str, Any]) -> None:
    options["timeout_graceful_shutdown"] = 2
    async with serving(fails_while_much_is_unsent, **options) as site, http2_client(site) as client:
        client.takes_bodies = False
        stream = await client.ask()
        await settled()
        site.server.request_shutdown("test")
        with seconds_passed() as elapsed:
            await client.until_end()
        assert client.answers[stream].reset == INTERNAL_ERROR
        assert elapsed.seconds < 5
