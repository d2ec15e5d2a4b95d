"""A file whose client leaves, does not read or takes too long, and an application that gives up on it."""

import logging
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from tests.helpers.apps import start
from tests.helpers.file_apps import LARGE, answer, path_app, send_open, send_path
from tests.helpers.serving import serving
from tests.helpers.transcripts import body_of, get
from trioserve import ClientDisconnected
from trioserve._types import Receive, Scope, Send


async def test_a_client_that_leaves(large: Path, caplog: pytest.LogCaptureFixture) -> None:
    ended = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with large.open("rb") as file:
            await start(send)
            with pytest.raises(ClientDisconnected):
                await send_open(send, file)
            assert not file.closed
        ended.set()

    async with serving(app, capacity=1024) as site:
        client = site.connect()
        await client.send_all(get())
        await client.receive_until(b"\r\n\r\n")
        client.abort()
        await ended.wait()
    assert caplog.records == []


async def test_a_client_that_does_not_read(large: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(path_app(large), capacity=1024, timeout_write=5) as site:
        client = site.connect()
        await client.send_all(get())
        await client.receive_until(b"\r\n\r\n")
        while site.connections:  # noqa: ASYNC110  # virtual time
            await anyio.sleep(1)
        assert client.lost
    assert "write-timeout: ended GET /" in caplog.text


async def test_a_request_that_takes_too_long(large: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(path_app(large), capacity=1024, timeout_request=5, timeout_write=None) as site:
        client = site.connect()
        await client.send_all(get())
        await client.receive_until(b"\r\n\r\n")
        await anyio.sleep(6)
        received = await client.receive_rest()
        assert len(received) < len(LARGE)
    assert "request-timeout: ended GET /" in caplog.text


async def test_the_access_line(large: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trioserve.access")
    await answer(path_app(large), access_log=True)
    assert f'"GET / HTTP/1.1" 200 OK {len(LARGE)} B' in caplog.text


async def test_an_application_that_gives_up_on_a_file(large: Path) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send_path_within(1, send)

    async def send_path_within(seconds: float, send: Send) -> None:
        with anyio.move_on_after(seconds):
            await send_path(send, large)

    async with serving(app, capacity=1024, timeout_write=None) as site:
        client = site.connect()
        await client.send_all(get())
        await anyio.sleep(2)
        received = await client.receive_rest()
    assert len(body_of(received)) < len(LARGE)
