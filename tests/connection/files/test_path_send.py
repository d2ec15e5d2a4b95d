"""Files as responses by their path: the extension "Path Send" of ASGI."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.apps import start
from tests.helpers.file_apps import LARGE, SMALL, answer, everything, length, path_app, send_path
from tests.helpers.serving import serving
from tests.helpers.transcripts import body_of, get, ok, receive_response, status_of
from trioserve._connection import open_file
from trioserve._errors import AppError
from trioserve._types import Receive, Scope, Send

# -- pathsend --------------------------------------------------------------------------------------------------------


async def test_a_small_file_leaves_in_one_piece_with_its_head(small: Path) -> None:
    async with serving(path_app(small)) as site:
        client = site.connect()
        await client.send_all(get())
        assert await client.receive_some() == ok(SMALL)


async def test_a_large_file(large: Path) -> None:
    assert await answer(path_app(large)) == ok(LARGE)


async def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert await answer(path_app(tmp_path / "empty")) == ok(b"")
    assert await answer(path_app(tmp_path / "empty", length(0))) == ok(b"")


async def test_requests_follow_on_the_same_connection(small: Path, large: Path) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send_path(send, large if scope["path"] == "/large" else small)

    async with serving(app) as site:
        client = site.connect()
        for target in ("/large", "/small", "/large"):
            await client.send_all(get(target))
            assert await receive_response(client) == ok(LARGE if target == "/large" else SMALL)


async def test_http_1_0(large: Path) -> None:
    for path_headers in ([], length(len(LARGE))):
        received = await everything(path_app(large, path_headers), get(version="1.0"))
        assert received == ok(LARGE, "connection: close")


async def test_head_sends_none_of_it(large: Path) -> None:
    received = await everything(path_app(large, length(len(LARGE))), get("/", "connection: close", method="HEAD"))
    assert received == ok(LARGE, "connection: close").removesuffix(LARGE)


async def test_files_of_proc_have_no_size() -> None:
    received = await everything(path_app("/proc/self/cmdline"), get(version="1.0"))
    assert body_of(received) == Path("/proc/self/cmdline").read_bytes()  # noqa: ASYNC240  # it is no disk


async def test_a_small_file_of_proc_gets_a_length() -> None:
    content = Path("/proc/self/cmdline").read_bytes()  # noqa: ASYNC240  # it is no disk
    assert await answer(path_app("/proc/self/cmdline")) == ok(content)


async def test_a_file_of_proc_whose_size_was_believed(caplog: pytest.LogCaptureFixture) -> None:
    received = await everything(path_app("/proc/self/cmdline", length(0)))
    assert status_of(received) == 500
    assert "longer than its content-length" in caplog.text


@pytest.fixture
def like_sys(small: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is as large as a page of memory, the system says, as those of /sys are."""
    fstat, inode = os.fstat, os.stat(small).st_ino

    def fstat_of_sys(descriptor: int) -> os.stat_result:
        status = fstat(descriptor)
        return status if status.st_ino != inode else os.stat_result((*status[:6], 4096, *status[7:]))

    monkeypatch.setattr(os, "fstat", fstat_of_sys)
    return small


async def test_a_file_of_sys_ends_where_it_ends(like_sys: Path) -> None:
    assert await answer(path_app(like_sys)) == ok(SMALL)
    assert await everything(path_app(like_sys), get(version="1.0")) == ok(SMALL, "connection: close")


async def test_a_file_of_sys_whose_size_was_believed(like_sys: Path, caplog: pytest.LogCaptureFixture) -> None:
    received = await everything(path_app(like_sys, length(4096)))
    assert status_of(received) == 500
    assert f"{4096 - len(SMALL)} bytes shorter than its content-length" in caplog.text


async def test_a_file_that_was_empty_when_its_length_was_declared(small: Path) -> None:
    assert await answer(path_app(small, length(0))) == ok(b"")


async def test_a_relative_path(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small.parent)
    assert await answer(path_app("small")) == ok(SMALL)


async def test_trailers_follow(small: Path) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send_path(send, small, trailers=True)
        await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]})

    received = await everything(app, get("/", "te: trailers", "connection: close"))
    assert body_of(received) == b"d\r\n" + SMALL + b"\r\n0\r\nx-sum: 1\r\n\r\n"


async def test_a_file_that_has_grown_since_its_length_was_declared(large: Path) -> None:
    assert await answer(path_app(large, length(100))) == ok(LARGE[:100])
    assert await answer(path_app(large, length(len(LARGE) - 1))) == ok(LARGE[:-1])


# -- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [[], length(10)])
async def test_no_file_is_a_500(tmp_path: Path, caplog: pytest.LogCaptureFixture, headers: Any) -> None:
    received = await everything(path_app(tmp_path / "missing", headers))
    assert status_of(received) == 500
    assert f"cannot open {tmp_path / 'missing'}: [Errno 2] No such file or directory" in caplog.text


async def test_what_cannot_be_sent_is_a_500(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert status_of(await everything(path_app(tmp_path))) == 500
    assert f"cannot send {tmp_path}: it is a directory" in caplog.text
    assert status_of(await everything(path_app("a\0b"))) == 500
    assert "embedded null" in caplog.text  # "byte", or "character": Python has had both


async def test_a_file_shorter_than_declared_is_a_500(large: Path, caplog: pytest.LogCaptureFixture) -> None:
    received = await everything(path_app(large, length(len(LARGE) + 1)))
    assert status_of(received) == 500
    assert "1 bytes shorter than its content-length" in caplog.text


async def test_an_error_before_the_head_can_be_handled(small: Path) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        with pytest.raises(AppError, match="cannot open"):
            await send({"type": "http.response.pathsend", "path": "/missing"})
        await send({"type": "http.response.pathsend", "path": str(small)})

    assert await answer(app) == ok(SMALL)


async def test_a_file_that_shrinks_while_it_is_sent_breaks_the_connection(
    large: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(path_app(large), capacity=1024) as site:
        client = site.connect()
        await client.send_all(get())
        await client.receive_until(b"\r\n\r\n")
        os.truncate(large, 100_000)
        received = await client.receive_rest()
    assert received == LARGE[:100_000]
    assert f"{len(LARGE) - 100_000} bytes shorter than its content-length" in caplog.text


async def test_a_disk_that_fails_breaks_the_connection(
    large: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    read = os.pread

    def pread(descriptor: int, count: int, offset: int) -> bytes:
        if offset:
            raise OSError(5, "Input/output error")
        return read(descriptor, count, offset)

    monkeypatch.setattr(open_file, "_read_at", pread)
    received = await everything(path_app(large))
    assert received.startswith(b"HTTP/1.1 200 OK\r\ncontent-length: 256000\r\n")
    assert 0 < len(body_of(received)) < len(LARGE)
    assert f"cannot read {large}: [Errno 5] Input/output error" in caplog.text
    assert "Exception in the application, serving GET /" in caplog.text
