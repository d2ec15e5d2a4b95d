"""Open files as responses: the extension "Zero Copy Send" of ASGI."""

import io
import os
import tempfile
from enum import IntEnum
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from tests.helpers.apps import part, start
from tests.helpers.file_apps import LARGE, SMALL, answer, everything, length, send_open
from tests.helpers.transcripts import body_of, get, ok, status_of
from trioserve._types import Receive, Scope, Send


async def test_an_open_file_stays_open(large: Path) -> None:
    with large.open("rb") as file:

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await start(send)
            await send_open(send, file, offset=0)

        assert await answer(app) == ok(LARGE)
        assert await answer(app) == ok(LARGE)
        assert not file.closed
        assert file.tell() == 0


async def test_an_open_file_is_read_where_it_stands_and_moves(large: Path) -> None:
    with large.open("rb") as file:

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            file.seek(0)
            file.read(10)  # more than that is in its buffer
            await start(send, headers=length(100))
            await send_open(send, file, count=40, more_body=True)
            assert file.tell() == 50
            await send_open(send, file, count=60)
            assert file.tell() == 110

        assert await answer(app) == ok(LARGE[10:110])


async def test_a_descriptor_is_a_file_too(large: Path) -> None:
    descriptor = os.open(large, os.O_RDONLY)
    named = IntEnum("named", {"LARGE": descriptor})

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        os.lseek(descriptor, 10, os.SEEK_SET)
        await start(send)
        await send_open(send, descriptor if scope["path"] == "/" else named.LARGE)
        assert os.lseek(descriptor, 0, os.SEEK_CUR) == len(LARGE)

    assert await answer(app) == ok(LARGE[10:])
    assert await answer(app, get("/named")) == ok(LARGE[10:])
    os.close(descriptor)


async def test_a_file_of_anyio(large: Path) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with await anyio.open_file(large, "rb") as file:
            await file.seek(5)
            await start(send)
            await send_open(send, file)
            assert await file.tell() == len(LARGE)

    assert await answer(app) == ok(LARGE[5:])


async def test_a_temporary_file() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(SMALL)
            file.seek(0)
            await start(send)
            await send_open(send, file)

    assert await answer(app) == ok(SMALL)


async def test_files_and_parts_in_one_body(small: Path, large: Path) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with small.open("rb") as one, large.open("rb") as other:
            await start(send, headers=length(3 + 5 + len(LARGE) + 1))
            for number in b"123":
                await part(send, bytes((number,)))
            await send_open(send, one, offset=2, count=5, more_body=True)
            await send_open(send, other, more_body=True)
            await part(send, b"4", more=False)

    assert body_of(await answer(app)) == b"123" + SMALL[2:7] + LARGE + b"4"


async def test_without_a_length_the_body_is_chunked(small: Path) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with small.open("rb") as file:
            await start(send)
            await send_open(send, file, more_body=True)
            await anyio.sleep(1)
            await part(send, b"!", more=False)

    assert body_of(await answer(app)) == b"d\r\n" + SMALL + b"\r\n1\r\n!\r\n0\r\n\r\n"


async def test_an_offset_behind_the_end(small: Path) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with small.open("rb") as file:
            await start(send)
            await send_open(send, file, offset=1000)

    assert await answer(app) == ok(b"")


@pytest.mark.parametrize("file", [io.BytesIO(SMALL), "/etc/passwd", 9999, -1, 1.5], ids=lambda it: type(it).__name__)
async def test_what_is_no_open_file_is_a_500(file: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await send_open(send, file)

    assert status_of(await everything(app)) == 500
    assert "is no open file of the operating system" in caplog.text or "Bad file descriptor" in caplog.text


async def test_a_closed_file_is_a_500(small: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = small.open("rb")
    file.close()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await send_open(send, file)

    assert status_of(await everything(app)) == 500
    assert "is no open file of the operating system" in caplog.text
