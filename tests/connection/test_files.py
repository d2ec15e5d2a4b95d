"""Files as responses: the extensions "Path Send" and "Zero Copy Send" of ASGI, where no kernel takes files.

So every byte is read here, as over TLS. What differs over sockets is in test_files_over_sockets.
"""

import io
import logging
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import pytest

from tests.helpers.apps import part, start
from tests.helpers.serving import serving
from tests.helpers.transcripts import body_of, get, ok, receive_response, status_of
from trioserve import ClientDisconnected
from trioserve._connection import open_file
from trioserve._errors import AppError
from trioserve._types import App, Receive, Scope, Send
from trioserve.testing import settled

SMALL: Final = b"a small file\n"
LARGE: Final = bytes(range(256)) * 1000  # several blocks


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small"
    path.write_bytes(SMALL)
    return path


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(LARGE)
    return path


@pytest.fixture(autouse=True)
def in_threads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Each call that would be made in a thread; virtual time does not wait for threads."""
    calls = []

    async def run(function: Any, *args: Any, **options: Any) -> Any:
        calls.append((function, *args))
        await anyio.sleep(1)
        return function(*args)

    monkeypatch.setattr(anyio.to_thread, "run_sync", run)
    return calls


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before


async def send_path(send: Send, path: object, headers: Any = (), **start_with: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": list(headers), **start_with})
    await send({"type": "http.response.pathsend", "path": str(path)})


async def send_open(send: Send, file: Any, **others: Any) -> None:
    await send({"type": "http.response.zerocopysend", "file": file, **others})


def path_app(path: object, headers: Any = ()) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send_path(send, path, headers)

    return app


def length(size: int) -> list[tuple[bytes, bytes]]:
    return [(b"content-length", b"%d" % size)]


async def answer(app: App, request: bytes = b"", **options: Any) -> bytes:
    async with serving(app, **options) as site:
        return await site.answer_to(request or get())


async def everything(app: App, request: bytes = b"") -> bytes:
    async with serving(app) as site:
        return await site.everything_after(request or get())


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


# -- zerocopysend ----------------------------------------------------------------------------------------------------


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


# -- what has no places: pipes, sockets, devices ---------------------------------------------------------------------


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


# -- disks -----------------------------------------------------------------------------------------------------------


async def test_what_is_in_memory_is_read_at_once(large: Path, in_threads: list[Any]) -> None:
    assert await answer(path_app(large)) == ok(LARGE)
    assert in_threads == []


async def test_what_is_on_a_disk_is_read_in_a_thread(
    large: Path, in_threads: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_file, "_is_in_memory", lambda descriptor, count, offset: offset >= 100_000)
    assert await answer(path_app(large)) == ok(LARGE)
    assert [(function, offset) for function, _, _, offset in in_threads] == [(os.pread, 0), (os.pread, 65536)]


async def test_whether_it_is_in_memory_is_the_kernels_word(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def preadv(descriptor: int, buffers: list[bytearray], offset: int, flags: int) -> int:
        asked.append((offset, len(buffers[0]), flags))
        if offset > 1000:
            raise BlockingIOError
        return 1

    monkeypatch.setattr(os, "preadv", preadv)
    assert open_file._is_in_memory(5, 1000, 1) is True
    assert open_file._is_in_memory(5, 1000, 2) is False
    assert asked == [(1, 1, os.RWF_NOWAIT), (1000, 1, os.RWF_NOWAIT), (2, 1, os.RWF_NOWAIT), (1001, 1, os.RWF_NOWAIT)]


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no tmpfs here")
async def test_a_file_system_that_does_not_say(in_threads: list[Any]) -> None:
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        file.write(LARGE)
        file.flush()
        assert await answer(path_app(file.name)) == ok(LARGE)


async def test_an_operating_system_with_less(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_file, "_IF_IN_MEMORY", 0)
    monkeypatch.setattr(open_file, "_read_at", open_file._seek_and_read)
    assert await answer(path_app(large)) == ok(LARGE)


# -- clients ---------------------------------------------------------------------------------------------------------


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
