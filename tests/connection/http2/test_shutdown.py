"""How the server ends an HTTP/2 connection: what GOAWAY announces, and whose requests are still answered."""

from typing import Any

import anyio
import pytest

from tests.helpers.apps import hello, reply, wait_for_ever
from tests.helpers.http2_client import http2_client
from tests.helpers.http2_numbers import CANCEL, HIGHEST_STREAM, INITIAL_WINDOW_SIZE, NO_ERROR, REFUSED_STREAM
from tests.helpers.serving import serving
from trioserve._connection.http2.goodbye import BEGUN_SECONDS
from trioserve._types import Receive, Scope, Send
from trioserve.testing import seconds_passed, settled


async def test_a_drain_in_two_steps(options: dict[str, Any]) -> None:  # RFC 9113 §6.8
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(2)
        await reply(send, b"whole")

    async with serving(app, **options) as site, http2_client(site) as client:
        stream = await client.ask()
        await settled()
        site.server.request_shutdown("test")
        answer = await client.answer(stream)
        assert answer.body == b"whole"
        assert client.goaways == [(HIGHEST_STREAM, NO_ERROR), (stream, NO_ERROR)]
        await client.until_end()


async def test_a_request_that_had_begun_when_the_client_heard_of_the_end(options: dict[str, Any]) -> None:
    """Go's client may acknowledge the ping first."""
    async with serving(hello, **options) as site, http2_client(site) as client:
        await client.get()
        site.server.request_shutdown("test")
        while not client.goaways:
            await client.listen()  # and acknowledge
        await anyio.sleep(BEGUN_SECONDS / 2)
        stream = await client.ask()
        assert (await client.answer(stream)).body == b"/"
        await client.until_end()
        assert client.goaways == [(HIGHEST_STREAM, NO_ERROR), (stream, NO_ERROR)]


async def test_a_drain_waits_for_the_first_request_of_a_new_connection(options: dict[str, Any]) -> None:
    """A client that learns of the end before it has sent the request that it has connected for may give it up."""
    async with serving(hello, **options) as site, http2_client(site) as client:
        site.server.request_shutdown("test", settle=0.5)
        await settled()
        await anyio.sleep(0.75)
        assert client.goaways == []
        stream = await client.ask()
        assert (await client.answer(stream)).body == b"/"
        await client.until_end()
        assert client.goaways == [(HIGHEST_STREAM, NO_ERROR), (stream, NO_ERROR)]


async def test_a_drain_waits_no_longer_than_a_second_for_the_first_request(options: dict[str, Any]) -> None:
    async with serving(hello, **options) as site, http2_client(site) as client:
        site.server.request_shutdown("test")
        with seconds_passed() as elapsed:
            await client.until_end()
        assert elapsed.seconds == pytest.approx(1 + BEGUN_SECONDS)
        assert client.goaways == [(HIGHEST_STREAM, NO_ERROR), (0, NO_ERROR)]


async def test_a_silent_connection_is_told_at_once(options: dict[str, Any]) -> None:
    async with serving(hello, **options) as site, http2_client(site) as client:
        await anyio.sleep(1)
        site.server.request_shutdown("test")
        with seconds_passed() as elapsed:
            await client.until_end()
        assert elapsed.seconds == pytest.approx(BEGUN_SECONDS)
        assert client.goaways == [(HIGHEST_STREAM, NO_ERROR), (0, NO_ERROR)]


async def test_a_client_that_leaves_instead_of_asking_is_not_waited_for(options: dict[str, Any]) -> None:
    with seconds_passed() as elapsed:
        async with serving(hello, **options) as site, http2_client(site) as client:
            site.server.request_shutdown("test")
            await settled()
            await client.stream.aclose()
    assert elapsed.seconds == 0


async def test_streams_are_reset_at_the_deadline_before_the_connection_ends(options: dict[str, Any]) -> None:
    options["timeout_graceful_shutdown"] = 2
    async with serving(wait_for_ever, **options) as site, http2_client(site) as client:
        streams = [await client.ask() for _ in range(3)]
        await settled()
        site.server.request_shutdown("test")
        await client.until_end()
    assert [client.answers[stream].reset for stream in streams] == [CANCEL] * 3


async def test_an_application_that_answers_when_it_is_cancelled_at_the_deadline(options: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.5)
                await reply(send, b"sorry")

    async with serving(app, **options, timeout_graceful_shutdown=2) as site, http2_client(site) as client:
        stream = await client.ask()
        await settled()
        site.server.request_shutdown("test")
        assert (await client.answer(stream)).body == b"sorry"
        await client.until_end()


@pytest.mark.parametrize("ended_by", ["a deadline", "a cancellation from outside"])
async def test_requests_that_have_not_begun_are_refused_at_the_end(options: dict[str, Any], ended_by: str) -> None:
    """They wait for the applications of streams that their client has reset. Nobody waits for them."""
    may_end = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with anyio.move_on_after(60, shield=True):
            await may_end.wait()

    options |= {"timeout_graceful_shutdown": 2, "limit_http2_streams": 1, "on_disconnect": "notify"}
    async with serving(app, **options) as site, http2_client(site) as client:
        await client.reset(await client.ask())
        await settled()
        stream = await client.ask()
        await settled()
        if ended_by == "a deadline":
            site.server.request_shutdown("test")
        else:
            nursery = site.only_connection.nursery
            assert nursery is not None
            nursery.cancel()
        assert (await client.answer(stream)).reset == REFUSED_STREAM
        may_end.set()
        await client.until_end()


async def test_a_drain_while_the_network_is_full(options: dict[str, Any]) -> None:
    """The notice does not get into the middle of a frame, of which the network has taken a part."""
    body = bytes(1_000_000)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, body)

    async with serving(app, **options) as site, http2_client(site, {INITIAL_WINDOW_SIZE: 2 * len(body)}) as client:
        client.h2.increment_flow_control_window(2 * len(body))
        stream = await client.ask()
        await settled()
        site.server.request_shutdown("test")
        await settled()
        answer = await client.answer(stream)
        await client.until_end()
    assert answer.body == body
    assert client.goaways == [(HIGHEST_STREAM, NO_ERROR), (stream, NO_ERROR)]


async def test_the_last_request_of_a_connection(options: dict[str, Any]) -> None:  # RFC 9113 §6.8
    """With it the end is announced. Those in progress are finished, one that was on the way as well, then it closes."""
    gate = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await gate.wait()
        await reply(send, b"whole")

    async with serving(app, **options, limit_requests_per_connection=2) as site, http2_client(site) as client:
        streams = [await client.ask()]
        await settled()
        await client.listen()
        assert client.goaways == []
        streams += [await client.ask(), await client.ask()]
        while len(client.goaways) < 2:
            await client.listen()
        assert client.goaways == [(HIGHEST_STREAM, NO_ERROR), (streams[-1], NO_ERROR)]
        assert (await client.answer(await client.ask())).reset == REFUSED_STREAM
        gate.set()
        for stream in streams:
            assert (await client.answer(stream)).body == b"whole"
        await client.until_end()
