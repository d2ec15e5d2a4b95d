"""Clients of HTTP/2 that will ask for no more, or have finished sending, and what they still get."""

from typing import Any

import anyio
import pytest

from tests.helpers.apps import part, reply, start
from tests.helpers.http2_client import http2_client
from tests.helpers.http2_numbers import CANCEL, HIGHEST_STREAM, INITIAL_WINDOW_SIZE
from tests.helpers.serving import serving
from trioserve import ClientDisconnected
from trioserve._types import Receive, Scope, Send
from trioserve.testing import seconds_passed, settled


@pytest.mark.parametrize("last_stream", [0, HIGHEST_STREAM], ids=["second step", "first step"])
@pytest.mark.parametrize("piece", [1, 1000])
async def test_a_client_that_has_sent_goaway_gets_its_answers(
    options: dict[str, Any], last_stream: int, piece: int
) -> None:  # RFC 9113 §6.8
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(1)
        await reply(send, b"whole")

    async with serving(app, **options) as site, http2_client(site) as client:
        stream = await client.ask()
        goaway = b"\0\0\x08\7\0\0\0\0\0" + last_stream.to_bytes(4, "big") + bytes(4)
        for at in range(0, len(goaway), piece):
            await client.stream.send_all(goaway[at : at + piece])
            await settled()
        assert (await client.answer(stream)).body == b"whole"


async def test_what_a_client_says_after_goaway_and_its_last_answer_is_no_error(options: dict[str, Any]) -> None:
    """It opens the window again, at the moment when the last byte for it leaves."""
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(1)
        await client.stream.send_all(b"\0\0\4\x08\0\0\0\0\1\0\0\0\5")
        await reply(send, b"whole")

    async with serving(app, **options) as site, http2_client(site) as client:
        stream = await client.ask()
        await client.stream.send_all(b"\0\0\x08\7\0\0\0\0\0" + bytes(8))
        client.hear(await client.stream.receive_rest())
        assert (client.answers[stream].body, client.goaways) == (b"whole", [])


async def test_a_client_that_has_finished_sending_gets_its_answers(options: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(0.2)
        await reply(send, b"whole")

    async with serving(app, **options) as site, http2_client(site) as client:
        stream = await client.ask()
        client.stream.send_eof()
        while not client.answers[stream].is_over and not client.has_ended:
            client.hear(await client.stream.receive_some())
        assert client.answers[stream].body == b"whole"


async def test_a_client_that_has_finished_sending_gets_what_waits_for_the_network(options: dict[str, Any]) -> None:
    """Its windows are open, so nothing is in the way of the rest."""
    size = 1_000_000

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        for _ in range(10):
            await part(send, bytes(size // 10))
        await part(send, b"", more=False)

    async with serving(app, **options) as site, http2_client(site, {INITIAL_WINDOW_SIZE: 2 * size}) as client:
        client.takes_bodies = False
        client.h2.increment_flow_control_window(2 * size)
        stream = await client.ask()
        await settled()
        client.stream.send_eof()
        await settled()
        client.hear(await client.stream.receive_rest())
    answer = client.answers[stream]
    assert (len(answer.body), answer.ended, answer.reset) == (size, True, None)


async def test_what_waits_for_its_turn_begins_although_its_client_has_finished_sending(
    options: dict[str, Any]
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/long":
            await anyio.sleep(10)
        await reply(send, b"answer")

    async with serving(app, **options, limit_http2_streams=2) as site, http2_client(site) as client:
        for stream in [await client.ask("/long") for _ in range(2)]:
            await client.reset(stream)  # which its application need not notice
        streams = [await client.ask() for _ in range(2)]
        client.stream.send_eof()
        while data := await client.stream.receive_some():
            client.hear(data)
        assert [client.answers[stream].body for stream in streams] == [b"answer", b"answer"]
        await settled()
        assert site.connections == 0


async def test_a_client_that_has_finished_sending_opens_no_window(options: dict[str, Any]) -> None:
    outcomes: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(0.2)
        try:
            await start(send)
            await part(send, bytes(1000))
            await part(send, bytes(1000), more=False)
        except ClientDisconnected as exc:
            outcomes.append(exc)
            raise

    async with (
        serving(app, **options, on_disconnect="notify") as site,
        http2_client(site, {INITIAL_WINDOW_SIZE: 10}) as client,
    ):
        client.takes_bodies = False
        stream = await client.ask()
        client.stream.send_eof()
        with seconds_passed() as elapsed:
            data = await client.stream.receive_rest()
        client.hear(data)
        assert (len(client.answers[stream].body), client.answers[stream].reset) == (10, CANCEL)
        assert elapsed.seconds < 5
    assert len(outcomes) == 1
