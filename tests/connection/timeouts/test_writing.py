"""``--timeout-write``: a client that takes nothing of its response."""

import re

import anyio
import pytest

from tests.helpers.apps import part, reply, start
from tests.helpers.serving import serving
from tests.helpers.timeouts import reasons
from tests.helpers.transcripts import get, status_of
from trioserve import ClientDisconnected
from trioserve._types import Receive, Scope, Send
from trioserve.testing import seconds_passed, settled


async def send_much(scope: Scope, receive: Receive, send: Send) -> None:
    await reply(send, b"x" * 1_000_000)


async def test_write_stall_aborts(caplog: pytest.LogCaptureFixture) -> None:
    raised: list[Exception] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send_much(scope, receive, send)
        except OSError as exc:
            raised.append(exc)
            raise

    async with serving(app, timeout_write=30) as site:
        client = site.connect()
        await client.send_all(get("/download"))
        await anyio.sleep(29)
        assert not client.lost
        await anyio.sleep(1)
        await settled()
        assert client.lost
        assert site.connections == 0
    assert isinstance(raised[0], ClientDisconnected)
    assert reasons(caplog) == ["write-timeout"]
    assert re.search(r"write-timeout: ended GET /download after \d+\.\d s, waiting at \S+:\d+ \(part\)", caplog.text)


async def test_write_progress_begins_the_time_anew() -> None:
    async with serving(send_much, timeout_write=30) as site:
        client = site.connect()
        await client.send_all(get())
        received = 0
        with seconds_passed() as elapsed:
            while received < 1_000_000:
                received += len(await client.receive_some(20_000))
                await anyio.sleep(25)
        assert not client.lost
    assert elapsed.seconds > 1000


async def test_write_stall_after_progress_aborts(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(send_much, timeout_write=30) as site:
        client = site.connect()
        await client.send_all(get())
        await anyio.sleep(20)
        await client.receive_some()
        with seconds_passed() as elapsed:
            await client.wait_disconnected()
        assert client.lost
    assert 30 <= elapsed.seconds <= 30 * 1.125  # progress is looked for eight times in that time
    assert reasons(caplog) == ["write-timeout"]


async def test_write_does_not_count_while_the_application_is_slow() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        for _ in range(3):
            await part(send, b"x")
            await anyio.sleep(1000)
        await part(send, b"", more=False)

    async with serving(app, timeout_write=30) as site:
        assert status_of(await site.answer_to(get())) == 200
