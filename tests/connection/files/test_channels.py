"""Pipes, sockets and devices as responses: what has no places is sent as it comes."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from tests.helpers.apps import part, start
from tests.helpers.file_apps import answer, everything, length, path_app, send_open
from tests.helpers.serving import serving
from tests.helpers.transcripts import body_of, get, ok
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled


@pytest.fixture(params=["pipe", "socket"])
def channel(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Callable[[bytes], Any], Callable[[], Any]]]:
    """What can be read, how to write to it, and how to end it."""
    if request.param == "pipe":
        readable, writable = os.pipe()
        reader, writer = os.fdopen(readable, "rb"), os.fdopen(writable, "wb", buffering=0)
        with reader, writer:
            yield reader, writer.write, writer.close
    else:
        one, other = socket.socketpair()
        with one, other:
            yield one, other.sendall, lambda: other.shutdown(socket.SHUT_WR)


async def test_what_comes_out_of_a_channel_leaves_when_it_comes(channel: Any) -> None:
    reader, write, end = channel

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await send_open(send, reader)

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        write(b"first")
        assert (await client.receive_until(b"first\r\n")).endswith(b"\r\n\r\n5\r\nfirst\r\n")
        write(b"second")
        assert await client.receive_until(b"\r\nsecond\r\n") == b"6\r\nsecond\r\n"
        end()
        assert await client.receive_until(b"\r\n\r\n") == b"0\r\n\r\n"


async def test_no_more_of_a_channel_than_is_wanted(channel: Any) -> None:
    reader, write, _ = channel

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, headers=length(8))
        await send_open(send, reader, count=3, more_body=True)
        await send_open(send, reader)

    write(b"123456789")
    assert await answer(app) == ok(b"12345678")


async def test_a_channel_that_ends_before_its_length(channel: Any, caplog: pytest.LogCaptureFixture) -> None:
    reader, write, end = channel

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, headers=length(8))
        await send_open(send, reader)

    write(b"1234")
    end()
    assert body_of(await everything(app)) == b"1234"
    assert "4 bytes shorter than its content-length" in caplog.text


async def test_who_waits_for_a_channel_can_be_cancelled(channel: Any) -> None:
    reader, _, _ = channel

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        with anyio.move_on_after(1):
            await send_open(send, reader)
        await part(send, b"instead", more=False)

    assert await answer(app) == ok(b"instead")


async def test_a_named_pipe_waits_for_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    async with serving(path_app(path)) as site:
        client = site.connect()
        await client.send_all(get())
        await settled()
        writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)  # which fails without a reader
        os.write(writer, b"written")
        os.close(writer)
        assert (await client.receive_until(b"0\r\n\r\n")).endswith(b"\r\n\r\n7\r\nwritten\r\n0\r\n\r\n")


async def test_a_device_that_never_waits() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with open("/dev/zero", "rb", buffering=0) as file:  # noqa: ASYNC230  # it is no disk
            await start(send, headers=length(200_000))
            await send_open(send, file)

    assert await answer(app) == ok(bytes(200_000))
