"""``--timeout-body``: silence, a rate that is too low, and what does not count."""

import re

import anyio
import pytest

from tests.helpers.apps import echo, hello, part, read_body, reply, start
from tests.helpers.serving import serving
from tests.helpers.timeouts import drip, reasons
from tests.helpers.transcripts import looks_whole, ok, post, receive_response, status_of
from trioserve._types import Message, Receive, Scope, Send
from trioserve.testing import seconds_passed


async def read_until_disconnect(receive: Receive) -> list[Message]:
    messages = [await receive()]
    while messages[-1]["type"] != "http.disconnect":
        messages.append(await receive())
    return messages


async def test_body_silence(caplog: pytest.LogCaptureFixture) -> None:  # RFC 9110 §15.5.9
    messages: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        messages.extend(await read_until_disconnect(receive))

    async with serving(app, timeout_body=30) as site:
        client = site.connect()
        await client.send_all(post(b"ha", target="/upload", length=4))
        with seconds_passed() as elapsed:
            assert status_of(await receive_response(client)) == 408
    assert elapsed.seconds == 30
    assert [message.get("body") for message in messages] == [b"ha", None]
    assert reasons(caplog) == ["body-timeout"]
    assert re.search(r"body-timeout: ended POST /upload after \d+\.\d s, waiting at \S+:\d+ \(read_until_disconnect\)",
                     caplog.text)


async def test_body_each_byte_begins_the_silence_anew() -> None:
    async with serving(echo, timeout_body=4) as site, anyio.create_task_group() as sending:
        client = site.connect()
        sending.start_soon(drip, client, [post(b"", length=3000), b"x" * 1000, b"x" * 1000, b"x" * 1000], 3)
        assert await receive_response(client) == ok(b"x" * 3000)


async def test_body_that_drips_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(echo, timeout_body=30) as site, anyio.create_task_group() as sending:
        client = site.connect()
        sending.start_soon(drip, client, [post(b"", length=1000), *[b"x"] * 1000], 1)
        with seconds_passed() as elapsed:
            assert status_of(await receive_response(client)) == 408
        await client.aclose()
    assert 5 < elapsed.seconds <= 7  # 240 B/s, after 5 s of grace
    assert reasons(caplog) == ["body-timeout"]


@pytest.mark.parametrize(("bytes_per_second", "fast_enough"), [(230, False), (250, True)])
async def test_body_the_slowest_rate_is_240_bytes_per_second(bytes_per_second: int, fast_enough: bool) -> None:
    size = bytes_per_second * 600
    async with serving(echo, timeout_body=30) as site, anyio.create_task_group() as sending:
        client = site.connect()
        sending.start_soon(drip, client, [post(b"", length=size), *[b"x" * bytes_per_second] * 600], 1)
        assert status_of(await receive_response(client)) == (200 if fast_enough else 408)
        await client.aclose()


async def test_body_only_waiting_counts() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(1000)
        body = (await receive())["body"]
        await anyio.sleep(1000)
        await reply(send, body + await read_body(receive))

    async with serving(app, timeout_body=30) as site:
        client = site.connect()
        await client.send_all(post(b"ha", length=4))
        await anyio.sleep(1500)
        await client.send_all(b"lf")
        assert await receive_response(client) == ok(b"half")


async def test_body_timeout_after_the_response_has_begun_cuts_it_short(caplog: pytest.LogCaptureFixture) -> None:
    messages: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"begun")
        messages.extend(await read_until_disconnect(receive))

    async with serving(app, timeout_body=30) as site:
        client = site.connect()
        await client.send_all(post(b"", length=4))
        received = await client.receive_rest()
        assert not looks_whole(received, client)
    assert received.endswith(b"begun\r\n")
    assert reasons(caplog) == ["body-timeout"]


async def test_body_that_nobody_reads_times_out_after_the_response(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(hello, timeout_body=30) as site:
        client = site.connect()
        await client.send_all(post(b"ha", length=4))
        assert await receive_response(client) == ok(b"/")
        with seconds_passed() as elapsed:
            assert await client.receive_some() == b""
    assert elapsed.seconds == 30
