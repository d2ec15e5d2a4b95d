"""Files as responses over real sockets: what the kernel sends, or has to be read for TLS; and what can go wrong."""

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

import trioserve
from tests.helpers.apps import part, start
from tests.helpers.loopback import (
    SOCKET_KINDS,
    Loopback,
    fixtures_over,
    receive_all,
    receive_exactly,
    serving_on_loopback,
)
from tests.helpers.stream_pairs import KINDS, Kind, Peer, eventually
from tests.helpers.transcripts import get, ok, post
from trioserve import ClientDisconnected
from trioserve._errors import AppError
from trioserve._types import App, Receive, Scope, Send

SMALL: Final = b"a small file\n"
LARGE: Final = os.urandom(6 << 20)  # more than the kernel takes for a client that does not read: 4 MiB at most
QUIET: Final = {"access_log": False, "date_header": False, "server_header": False, "lifespan": "off"}
HEAD_OF_LARGE: Final = ok(LARGE).removesuffix(LARGE)


WHERE_THE_KERNEL_SENDS = pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind.takes_files], indirect=True, ids=str
)


kind, anyio_backend = fixtures_over(SOCKET_KINDS)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(LARGE)
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small"
    path.write_bytes(SMALL)
    return path


def descriptors_of(path: Path) -> int:
    """How often this process has ``path`` open."""
    count = 0
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{descriptor}") == str(path)
        except FileNotFoundError:  # that of the directory
            continue
    return count


async def pathsend(send: Send, path: Path) -> None:
    await send({"type": "http.response.pathsend", "path": str(path)})


def path_app(path: Path) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await pathsend(send, path)

    return app


@pytest.fixture
def sendfile_calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The bytes that each call of sendfile(2) has sent."""
    calls = []
    sendfile = os.sendfile

    def count(*args: Any) -> int:
        sent = sendfile(*args)
        calls.append(sent)
        return sent

    monkeypatch.setattr(os, "sendfile", count)
    yield calls


# -- whole files -----------------------------------------------------------------------------------------------------


async def test_files_one_after_the_other(
    kind: Kind, large: Path, small: Path, sendfile_calls: list[int]
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await pathsend(send, large if scope["path"] == "/large" else small)

    async with serving_on_loopback(kind, app) as site:
        peer = site.connect()
        for target, content in [("/large", LARGE), ("/small", SMALL), ("/large", LARGE), ("/small", SMALL)]:
            await peer.send(get(target))
            assert await receive_exactly(peer, len(ok(content))) == ok(content)
    assert sum(sendfile_calls) == (2 * len(LARGE) if kind.takes_files else 0)
    assert descriptors_of(large) == descriptors_of(small) == 0


async def test_http_1_0(kind: Kind, large: Path) -> None:
    async with serving_on_loopback(kind, path_app(large)) as site:
        peer = site.connect()
        await peer.send(get(version="1.0"))
        assert await receive_all(peer) == ok(LARGE, "connection: close")


async def test_many_clients_at_once(kind: Kind, large: Path) -> None:
    async with serving_on_loopback(kind, path_app(large)) as site, anyio.create_task_group() as clients:

        async def visit(pause: float) -> None:
            peer = site.connect()
            await peer.send(get())
            assert await receive_exactly(peer, len(HEAD_OF_LARGE)) == HEAD_OF_LARGE
            await anyio.sleep(pause)
            assert await receive_exactly(peer, len(LARGE)) == LARGE

        for number in range(5):
            clients.start_soon(visit, number / 100)
    assert descriptors_of(large) == 0


async def test_open_files_and_parts_in_one_body(kind: Kind, large: Path) -> None:
    with large.open("rb") as file:

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            file.seek(7)
            await start(send, headers=[(b"content-length", b"%d" % (len(LARGE) - 7 + 100_000 + 6))])
            for body in (b"1", b"2", b"3"):
                await part(send, body)
            await send({"type": "http.response.zerocopysend", "file": file, "more_body": True})
            assert file.tell() == len(LARGE)
            await send({"type": "http.response.zerocopysend", "file": file, "offset": 5, "count": 100_000,
                        "more_body": True})
            await part(send, b"456", more=False)

        async with serving_on_loopback(kind, app) as site:
            peer = site.connect()
            for _ in range(2):
                await peer.send(get())
                expected = b"123" + LARGE[7:] + LARGE[5:100_005] + b"456"
                received = await receive_exactly(peer, len(ok(expected)))
                assert received == ok(expected)
        assert not file.closed


async def test_a_body_that_nobody_reads_comes_before(kind: Kind, large: Path) -> None:
    async with serving_on_loopback(kind, path_app(large)) as site:
        peer = site.connect()
        await peer.send(post(b"x" * 1000) + get())
        assert await receive_exactly(peer, 2 * len(ok(LARGE))) == 2 * ok(LARGE)


async def test_what_is_not_in_memory(kind: Kind, large: Path) -> None:
    """Read by a thread, and then sent as always. Where there is no disk below ``tmp_path`` it never is elsewhere."""
    with large.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    async with serving_on_loopback(kind, path_app(large)) as site:
        peer = site.connect()
        await peer.send(get())
        assert await receive_exactly(peer, len(ok(LARGE))) == ok(LARGE)


@WHERE_THE_KERNEL_SENDS
async def test_a_unix_socket(kind: Kind, large: Path, tmp_path: Path) -> None:
    config = trioserve.Config.from_options({**QUIET, "uds": str(tmp_path / "socket")})
    async with anyio.create_task_group() as nursery:
        [address] = await nursery.start(trioserve.serve, path_app(large), config)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(address[0])
            client.setblocking(False)
            client.send(get(version="1.0"))
            received = b""
            while len(received) < len(ok(LARGE, "connection: close")):
                await anyio.wait_readable(client)
                received += client.recv(1 << 20)
        nursery.cancel_scope.cancel()
    assert received == ok(LARGE, "connection: close")


# -- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails_at", [0, 1, 2])
async def test_a_file_that_the_kernel_does_not_send_is_read(
    kind: Kind, large: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    sendfile, calls = os.sendfile, iter(range(1000))

    def refuse(out: int, descriptor: int, offset: int, count: int) -> int:
        if next(calls) >= fails_at:
            raise OSError(errno.EINVAL, "Invalid argument")
        return sendfile(out, descriptor, offset, min(count, 5000))

    monkeypatch.setattr(os, "sendfile", refuse)
    async with serving_on_loopback(kind, path_app(large)) as site:
        peer = site.connect()
        await peer.send(get())
        assert await receive_exactly(peer, len(ok(LARGE))) == ok(LARGE)


async def test_a_file_that_shrinks(kind: Kind, large: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving_on_loopback(kind, path_app(large)) as site:
        peer = site.connect()
        await peer.send(get())
        await receive_exactly(peer, 1000)
        os.truncate(large, 5 << 20)
        received = await receive_all(peer)
    assert len(received) == len(HEAD_OF_LARGE) + (5 << 20) - 1000
    assert f"{1 << 20} bytes shorter than its content-length" in caplog.text
    assert descriptors_of(large) == 0


async def sending_to_nobody(site: Loopback) -> Peer:
    """A client that has read the head, and reads no more."""
    peer = site.connect()
    await peer.send(get())
    assert await receive_exactly(peer, len(HEAD_OF_LARGE)) == HEAD_OF_LARGE
    return peer


async def test_a_client_that_leaves(kind: Kind, large: Path, caplog: pytest.LogCaptureFixture) -> None:
    ended = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with large.open("rb") as file:
            await start(send)
            with pytest.raises(ClientDisconnected):
                await send({"type": "http.response.zerocopysend", "file": file, "offset": 0})
            assert not file.closed
        ended.set()

    async with serving_on_loopback(kind, app) as site:
        peer = await sending_to_nobody(site)
        peer.reset()
        await ended.wait()
    assert caplog.records == []
    assert descriptors_of(large) == 0


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"timeout_write": 1}, "write-timeout"), ({"timeout_request": 1}, "request-timeout")],
    ids=["write", "request"],
)
async def test_timeouts(
    kind: Kind, large: Path, caplog: pytest.LogCaptureFixture, options: dict[str, Any], reason: str
) -> None:
    async with serving_on_loopback(kind, path_app(large), **options) as site:
        peer = await sending_to_nobody(site)
        await eventually(lambda: f"{reason}: ended GET /" in caplog.text)
        assert len(await receive_all(peer)) < len(LARGE)
    assert descriptors_of(large) == 0


async def test_the_deadline_of_a_shutdown(kind: Kind, large: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving_on_loopback(kind, path_app(large), timeout_graceful_shutdown=0.1) as site:
        await sending_to_nobody(site)
        site.stop()
        with anyio.CancelScope(shield=True):
            await eventually(lambda: "shutdown-deadline: ended GET /" in caplog.text)
    assert descriptors_of(large) == 0


async def test_a_shutdown_waits_for_files(kind: Kind, large: Path) -> None:
    async with serving_on_loopback(kind, path_app(large)) as site:
        peer = await sending_to_nobody(site)
        site.stop()
        with anyio.CancelScope(shield=True):
            assert await receive_exactly(peer, len(LARGE)) == LARGE


async def test_whoever_gives_up_on_a_file_has_cut_the_response(kind: Kind, large: Path) -> None:
    said: list[str] = []
    patience = anyio.CancelScope()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        with patience:
            await pathsend(send, large)
        try:
            await part(send, b"instead", more=False)
        except AppError as exc:
            said.append(str(exc))

    async with serving_on_loopback(kind, app) as site:
        peer = await sending_to_nobody(site)
        patience.cancel()
        await eventually(lambda: said)
        received = await receive_all(peer)
    assert len(received) < len(LARGE)
    assert b"instead" not in received
    assert ("the rest of a file is expected" if kind.takes_files else "shorter than its content-length") in said[0]


@WHERE_THE_KERNEL_SENDS
async def test_nothing_gets_into_the_middle_of_a_file(kind: Kind, large: Path) -> None:
    said: list[str] = []
    begun = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def disturb() -> None:
            await begun.wait()
            for message in (
                {"type": "http.response.body", "body": b"x" * 10, "more_body": False},
                {"type": "http.response.pathsend", "path": str(large)},
            ):
                with pytest.raises(AppError) as error:
                    await send(message)
                said.append(str(error.value))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(disturb)
            await start(send)
            await pathsend(send, large)

    async with serving_on_loopback(kind, app) as site:
        peer = await sending_to_nobody(site)
        begun.set()
        await eventually(lambda: len(said) == 2)
        assert await receive_exactly(peer, len(LARGE)) == LARGE
