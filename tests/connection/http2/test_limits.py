"""How much one HTTP/2 connection may ask for, and how fast: limits and floods."""

import logging
from typing import Any

import anyio
import pytest
from hyperframe.frame import RstStreamFrame

from tests.helpers.apps import echo, hello, part, reply, start, wait_for_ever
from tests.helpers.http2_client import http2_client
from tests.helpers.http2_numbers import CANCEL, ENHANCE_YOUR_CALM, INITIAL_WINDOW_SIZE, REFUSED_STREAM
from tests.helpers.serving import serving
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled

# -- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fields", "status"), [
    ([(b"x-large", b"a" * 9000)], 431),
    ([(b"x-many", b"1")] * 101, 431),
    ([(b"content-length", b"1001")], 413),
])  # fmt: skip
async def test_a_request_over_the_limits(
    options: dict[str, Any], fields: list[tuple[bytes, bytes]], status: int
) -> None:
    limits: dict[str, Any] = {"limit_header_bytes": 8192, "limit_request_body": 1000}
    async with serving(hello, **options, **limits) as site, http2_client(site) as client:
        stream = await client.ask(method=b"POST", fields=fields, ends=False)
        assert (await client.answer(stream)).status == status
        assert (await client.get()).ended


async def test_a_body_that_grows_over_the_limit(options: dict[str, Any]) -> None:
    async with serving(echo, **options, limit_request_body=1000) as site, http2_client(site) as client:
        assert (await client.post(bytes(1001))).status == 413
        assert (await client.post(bytes(1000))).status == 200


async def test_one_stream_too_many_is_refused(options: dict[str, Any]) -> None:  # RFC 9113 §5.1.2
    gate = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await gate.wait()
        await reply(send)

    async with serving(app, **options, limit_http2_streams=2) as site, http2_client(site) as client:
        await client.listen()
        client.h2.remote_settings[3] = 100  # this client does not care
        client.h2.remote_settings.acknowledge()
        streams = [await client.ask() for _ in range(3)]
        assert (await client.answer(streams[2])).reset == REFUSED_STREAM
        gate.set()
        for stream in streams[:2]:
            assert (await client.answer(stream)).ended


async def test_an_application_counts_until_it_has_ended(options: dict[str, Any]) -> None:  # CVE-2023-44487
    """Streams that are reset make room for others, whose applications wait until there is room for them, too."""
    running, most = 0, 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            await anyio.sleep(60)
        finally:
            running -= 1

    async with serving(app, **options, limit_http2_streams=4) as site, http2_client(site) as client:
        for _ in range(20):
            await client.reset(await client.ask())
            await settled()
        assert most == 4


async def test_limit_concurrency_counts_streams(options: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(30)
        await reply(send)

    async with serving(app, **options, limit_concurrency=1) as site, http2_client(site) as client:
        first, second, third = [await client.ask() for _ in range(3)]
        refused = await client.answer(third)
        assert (refused.status, dict(refused.fields)[b"retry-after"]) == (503, b"1")
        assert (await client.answer(second)).status == 503
        assert (await client.answer(first)).status == 200


# -- floods ----------------------------------------------------------------------------------------------------------


async def test_resets_have_a_rate(options: dict[str, Any]) -> None:  # CVE-2023-44487
    async with serving(wait_for_ever, **options, limit_http2_resets=10) as site, http2_client(site) as client:
        for _ in range(10):
            await client.reset(await client.ask())
        await anyio.sleep(3)
        await client.reset(await client.ask())  # a tenth of the time has passed
        await client.reset(await client.ask())
        await client.until_end()
        assert client.goaways[-1][1] == ENHANCE_YOUR_CALM


async def begun(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send)
    await part(send, b"the beginning")
    await anyio.sleep_forever()


async def test_resets_after_the_beginning_of_an_answer_are_free(options: dict[str, Any]) -> None:
    """A page is loaded anew while it is still coming."""
    async with serving(begun, **options, limit_http2_resets=10) as site, http2_client(site) as client:
        for _ in range(12):
            streams = [await client.ask() for _ in range(100)]
            for stream in streams:
                assert (await client.head(stream)).status == 200
            for stream in streams:
                client.h2.reset_stream(stream, CANCEL)
            await client.say()
            await settled()
        assert (await client.head(await client.ask())).status == 200
        assert client.goaways == []


async def test_resets_that_come_after_the_end_are_free(options: dict[str, Any]) -> None:
    """They have crossed the end of the answer on the way."""
    async with serving(hello, **options, limit_http2_resets=10) as site, http2_client(site) as client:
        for _ in range(12):
            stream = await client.ask()
            await client.answer(stream)
            await client.stream.send_all(RstStreamFrame(stream, error_code=CANCEL).serialize())
            await settled()
        assert (await client.get()).status == 200
        assert client.goaways == []


async def test_a_page_whose_images_do_not_come_may_be_loaded_12_times(options: dict[str, Any]) -> None:
    async with serving(wait_for_ever, **options) as site, http2_client(site) as client:
        for _ in range(12):
            streams = [await client.ask() for _ in range(100)]
            await settled()
            for stream in streams:
                client.h2.reset_stream(stream, CANCEL)
            await client.say()
            await settled()
        client.h2.ping(b"12345678")
        await client.say()
        while not client.pongs and not client.has_ended:
            await client.listen()
        assert client.goaways == []


@pytest.mark.parametrize("limit", ["limit_http2_resets", "limit_http2_control_frames"])
async def test_who_uses_up_an_allowance_is_named(
    options: dict[str, Any], limit: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    options[limit] = 100
    async with serving(wait_for_ever, **options) as site, http2_client(site) as client:
        for _ in range(110):
            if limit == "limit_http2_resets":
                client.h2.reset_stream(client.prepare(), CANCEL)
            else:
                client.h2.ping(b"12345678")
        await client.say()
        await client.until_end()
    [record] = caplog.records
    assert (record.levelname, record.name) == ("WARNING", "trioserve")
    assert str(client.stream.local) in record.message
    assert record.message.endswith(f"(--{limit.replace('_', '-')})")


async def test_resets_that_are_provoked_count_too(options: dict[str, Any]) -> None:  # CVE-2025-8671
    async with serving(hello, **options, limit_http2_resets=10) as site, http2_client(site) as client:
        for _ in range(11):
            await client.ask(fields=[(b"upgrade", b"x")])
        await client.until_end()
        assert client.goaways[-1][1] == ENHANCE_YOUR_CALM


async def test_frames_that_make_no_progress_have_a_rate(options: dict[str, Any]) -> None:  # CVE-2019-9512
    async with serving(hello, **options, limit_http2_control_frames=100) as site, http2_client(site) as client:
        for _ in range(101):
            client.h2.ping(b"12345678")
        await client.say()
        await client.until_end()
        assert client.goaways[-1][1] == ENHANCE_YOUR_CALM


@pytest.mark.parametrize("window", [1, 10, 1000])
async def test_a_client_with_a_small_window_may_open_it_again_and_again(
    options: dict[str, Any], window: int
) -> None:  # RFC 9113 §6.9
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, bytes(300 * window))

    settings = {INITIAL_WINDOW_SIZE: window}
    async with (
        serving(app, **options, limit_http2_control_frames=100) as site, http2_client(site, settings) as client,
    ):
        assert (await client.get()).body == bytes(300 * window)


async def test_a_client_may_acknowledge_each_small_part(options: dict[str, Any]) -> None:  # RFC 9113 §6.9
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        for _ in range(300):
            await part(send, b"x")
            await anyio.sleep(0.01)

    async with serving(app, **options, limit_http2_control_frames=100) as site, http2_client(site) as client:
        stream = await client.ask()
        answer = await client.head(stream)
        while len(answer.body) < 300:
            before = len(answer.body)
            await client.listen()
            assert not client.has_ended
            if len(answer.body) > before:
                for whose in (stream, None):
                    client.h2.increment_flow_control_window(1, whose)
                await client.say()
