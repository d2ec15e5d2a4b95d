"""An HTTP/2 connection does not wait for ever: not for requests, bodies or windows, nor for applications."""

from typing import Any

import anyio
import pytest

from tests.helpers.apps import echo, hello, reply
from tests.helpers.http2_client import http2_client
from tests.helpers.http2_numbers import ENHANCE_YOUR_CALM, HIGHEST_STREAM, INITIAL_WINDOW_SIZE, NO_ERROR
from tests.helpers.serving import serving
from trioserve import ClientDisconnected
from trioserve._connection.http2.goodbye import BEGUN_SECONDS
from trioserve._connection.patience import Patience
from trioserve._connection.timeouts import Timeout
from trioserve._types import Receive, Scope, Send
from trioserve.testing import seconds_passed


async def test_an_idle_connection_is_closed(options: dict[str, Any]) -> None:
    async with serving(hello, **options, timeout_http2_idle=7) as site, http2_client(site) as client:
        await client.get()
        with seconds_passed() as elapsed:
            while not client.goaways:
                await client.listen()
        assert elapsed.seconds == 7
        with seconds_passed() as elapsed:
            await client.until_end()
        assert client.goaways == [(HIGHEST_STREAM, NO_ERROR), (1, NO_ERROR)]
        assert elapsed.seconds == pytest.approx(BEGUN_SECONDS)


async def test_a_request_that_comes_when_an_idle_connection_is_closed(options: dict[str, Any]) -> None:
    """Some proxies would not send it again on another connection."""
    async with serving(hello, **options, timeout_http2_idle=7) as site, http2_client(site) as client:
        await client.get()
        await anyio.sleep(7.5)
        stream = await client.ask()  # before it reads what the server has sent
        assert (await client.answer(stream)).body == b"/"
        await client.until_end()
        assert client.goaways == [(HIGHEST_STREAM, NO_ERROR), (stream, NO_ERROR)]


async def test_a_request_that_comes_at_the_very_end_of_the_idle_time(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the time is over, and the task that waits has not yet been told."""
    give_up = Patience._give_up
    async with serving(hello, **options, timeout_http2_idle=7) as site, http2_client(site) as client:
        await client.get()
        stream = client.prepare()

        def give_up_too_early(patience: Patience, expected: Timeout) -> None:
            give_up(patience, expected)
            client.stream.send_nowait(client.h2.data_to_send())

        monkeypatch.setattr(Patience, "_give_up", give_up_too_early)
        assert (await client.answer(stream)).body == b"/"
        await client.until_end()
        assert client.goaways == [(HIGHEST_STREAM, NO_ERROR), (stream, NO_ERROR)]


async def test_an_idle_client_that_does_not_listen_is_closed(options: dict[str, Any]) -> None:
    async with serving(hello, **options, timeout_http2_idle=0.25) as site, http2_client(site) as client:
        await client.get()
        await anyio.sleep(2)
        stream = await client.ask()
        await client.until_end()
        assert client.goaways == [(HIGHEST_STREAM, NO_ERROR), (1, NO_ERROR)]
        assert client.answers[stream].status is None


async def test_pings_do_not_keep_an_idle_connection_open(options: dict[str, Any]) -> None:
    async with serving(hello, **options, timeout_http2_idle=7) as site, http2_client(site) as client:
        await client.get()
        with seconds_passed() as elapsed:
            for _ in range(3):
                await anyio.sleep(2)
                client.h2.ping(b"12345678")
                await client.say()
            while not client.goaways:
                await client.listen()
        assert elapsed.seconds == 7


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("begun", [
    pytest.param(b"\0\0\1\1\1\0\0\0\5\x82", id="in another frame"),  # HEADERS without END_HEADERS
    pytest.param(b"\0\0\5\1\5\0\0\0\5\x82", id="in a frame"),
    pytest.param(b"\0\0\5\1\5\0\0\0\5", id="in a frame of which nothing comes"),
])
async def test_a_head_that_does_not_end(options: dict[str, Any], begun: bytes, beside: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/waits":
            await anyio.sleep_forever()
        await hello(scope, receive, send)

    async with serving(app, **options, timeout_header=3) as site, http2_client(site) as client:
        await client.get()
        if beside:
            await client.ask("/waits")
        await client.stream.send_all(begun)
        with seconds_passed() as elapsed:
            while not client.goaways:
                await client.listen()
        assert elapsed.seconds == 3


async def test_each_head_has_its_own_time(options: dict[str, Any]) -> None:
    """What a busy client sends mostly ends in the middle of a head."""
    async with serving(hello, **options, timeout_header=3) as site, http2_client(site) as client:
        await client.get()
        rest = b""
        for _ in range(5):
            stream = client.prepare()
            head = client.h2.data_to_send()
            await client.stream.send_all(rest + head[:-2])
            rest = head[-2:]
            await anyio.sleep(2)
        await client.stream.send_all(rest)
        assert (await client.answer(stream)).status == 200
        assert not client.goaways


async def test_a_head_that_drips(options: dict[str, Any]) -> None:
    async with serving(hello, **options, timeout_header=3) as site, http2_client(site) as client:
        await client.get()
        client.prepare("/a-long-path")
        head = client.h2.data_to_send()
        async with anyio.create_task_group() as dripping:

            async def drip() -> None:
                await client.stream.send_all(head[:10])
                for byte in head[10:]:
                    await anyio.sleep(1)
                    await client.stream.send_all(bytes([byte]))

            dripping.start_soon(drip)
            with seconds_passed() as elapsed:
                while not client.goaways:
                    await client.listen()
            dripping.cancel_scope.cancel()
        assert elapsed.seconds == 3


@pytest.mark.parametrize("early", [b"", b"PRI * HT"])
async def test_a_preface_that_does_not_come(options: dict[str, Any], early: bytes) -> None:
    async with serving(hello, **options, timeout_header=3) as site:
        client = site.connect()
        await client.send_all(early)
        with seconds_passed() as elapsed, pytest.raises(ClientDisconnected):
            await client.receive_some()
        assert elapsed.seconds == 3


async def test_a_body_that_does_not_come(options: dict[str, Any]) -> None:
    async with serving(echo, **options, timeout_body=3) as site, http2_client(site) as client:
        stream = await client.ask(method=b"POST", ends=False)
        with seconds_passed() as elapsed:
            assert (await client.answer(stream)).status == 408
        assert elapsed.seconds == 3
        assert (await client.get()).ended


async def test_a_body_that_drips(options: dict[str, Any]) -> None:
    async with serving(echo, **options) as site, http2_client(site) as client:
        stream = await client.ask(method=b"POST", ends=False)
        answer = client.answers[stream]
        async with anyio.create_task_group() as dripping:

            async def drip() -> None:
                while not answer.is_over:
                    await client.send(stream, b"x")
                    await anyio.sleep(1)

            dripping.start_soon(drip)
            with seconds_passed() as elapsed:
                assert (await client.answer(stream)).status == 408
            dripping.cancel_scope.cancel()
        assert 5 <= elapsed.seconds < 7


async def test_a_window_that_stays_shut(options: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, bytes(1000) if scope["path"] == "/" else b"")

    async with (
        serving(app, **options, timeout_write=8) as site,
        http2_client(site, {INITIAL_WINDOW_SIZE: 10}) as client,
    ):
        client.takes_bodies = False
        with seconds_passed() as elapsed:
            answer = await client.get()
        assert answer.reset == ENHANCE_YOUR_CALM
        assert 8 <= elapsed.seconds <= 9
        assert (await client.get("/other")).ended


async def test_a_request_that_takes_too_long(options: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(3600 if scope["path"] == "/" else 5)
        await reply(send)

    async with serving(app, **options, timeout_request=3) as site, http2_client(site) as client:
        with seconds_passed() as elapsed:
            assert (await client.get()).status == 504
        assert elapsed.seconds == 3
