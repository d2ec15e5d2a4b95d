"""Unix sockets: made, named, replaced when they are stale, removed when they are ours; and what is said otherwise."""

import functools
import os
import socket
import stat
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import trioserve
from tests.helpers.apps import reply
from tests.helpers.lifespans import COMPLETE, STOPPED, LifespanApp, with_lifespan
from trioserve import BindFailed, Config, StartupFailed
from trioserve._server import Server
from trioserve._server.listeners import bind, listen_on, release
from trioserve._types import Receive, Scope, Send
from trioserve.testing import serve_background

pytestmark = [pytest.mark.real_clock, pytest.mark.usefixtures("nothing_unclosed")]

REQUEST = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.sock"


async def addresses_app(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    await reply(send, f"{scope['server']} {scope['client']}".encode())


serving = functools.partial(serve_background, addresses_app, access_log=False)


async def fetch(path: Path | str) -> str:
    async with await anyio.connect_unix(str(path)) as stream:
        await stream.send(REQUEST)
        received = b"".join([data async for data in stream])
    return received.partition(b"\r\n\r\n")[2].decode()


async def refusal(**options: Any) -> str:
    """Why these options cannot be bound."""
    with pytest.raises(BindFailed) as error:
        await bind(Config(**options))
    assert "\n" not in str(error.value)
    return str(error.value)


# -- what is bound -----------------------------------------------------------------------------------------------------


async def test_the_scope_has_the_path_and_no_client(path: Path) -> None:  # ASGI HTTP, "server", "client"
    async with serving(uds=str(path)) as server:
        assert server.addresses == [(str(path), None)]
        assert await fetch(path) == f"('{path}', None) None"
    assert not path.exists()


async def test_a_client_that_has_a_path_of_its_own_is_none_too(path: Path, tmp_path: Path) -> None:
    async with serving(uds=str(path)):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(tmp_path / "client"))
            sock.setblocking(False)
            sock.connect(str(path))
            sock.send(REQUEST)
            received = b""
            while not received.endswith(b" None"):
                await anyio.wait_readable(sock)
                received += sock.recv(65536)
    assert received.endswith(f"('{path}', None) None".encode())


async def test_several_addresses_at_once(path: Path) -> None:
    other = path.with_name("other.sock")
    async with serving(bind=["127.0.0.1:0", f"unix:{path}"], uds=str(other)) as server:
        assert server.addresses[1:] == [(str(path), None), (str(other), None)]
        assert server.addresses[0][0] == "127.0.0.1"
        assert await fetch(path) == f"('{path}', None) None"
        assert await fetch(other) == f"('{other}', None) None"
    assert not path.exists() and not other.exists()


async def test_a_relative_path_is_removed_from_wherever_the_application_goes(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with serving(uds="app.sock") as server:
        assert server.addresses == [("app.sock", None)]
        monkeypatch.chdir("/")
        assert path.exists()
    assert not path.exists()


@pytest.mark.parametrize(("options", "mode"), [
    ({}, 0o666), ({"uds_permissions": "600"}, 0o600), ({"uds_permissions": "0o770"}, 0o770)])
async def test_permissions_whatever_the_umask(path: Path, options: dict[str, Any], mode: int) -> None:
    before = os.umask(0o077)
    try:
        async with serving(uds=str(path), **options):
            assert stat.S_IMODE(path.stat().st_mode) == mode
    finally:
        os.umask(before)


# -- old sockets -------------------------------------------------------------------------------------------------------


def leave_behind(path: Path) -> None:
    """What a server that was killed leaves."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()


async def test_a_stale_socket_is_replaced(path: Path) -> None:
    leave_behind(path)
    async with serving(uds=str(path)):
        assert await fetch(path)


async def test_a_socket_that_somebody_answers_on_stays(path: Path) -> None:
    async with serving(uds=str(path)):
        assert await refusal(uds=str(path)) == (
            f"cannot listen on unix:{path}: another server listens there; stop it, or choose another path")
        assert await fetch(path)


async def test_a_server_too_busy_to_answer_is_there(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(path))
        busy.listen(0)
        waiting.connect(str(path))  # fills the backlog
        assert "another server listens there" in await refusal(uds=str(path))


async def test_a_file_is_never_replaced(path: Path) -> None:
    path.write_text("precious")
    assert await refusal(uds=str(path)) == (
        f"cannot listen on unix:{path}: the file is no socket; remove it, or choose another path")
    assert path.read_text() == "precious"


async def test_a_symbolic_link_is_never_followed(path: Path, tmp_path: Path) -> None:
    leave_behind(tmp_path / "stale")
    path.symlink_to(tmp_path / "stale")
    assert "the file is no socket" in await refusal(uds=str(path))
    assert (tmp_path / "stale").exists()


async def test_a_datagram_socket_is_never_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        assert f"cannot listen on unix:{path}: " in await refusal(uds=str(path))
    assert path.exists()


# -- the own socket ----------------------------------------------------------------------------------------------------


async def test_a_socket_that_was_replaced_is_not_removed(path: Path) -> None:
    async with serving(uds=str(path)):
        path.unlink()
        leave_behind(path)
    assert path.exists()


async def test_a_socket_that_was_removed_is_no_trouble(path: Path) -> None:
    async with serving(uds=str(path)):
        path.unlink()


async def test_the_name_is_free_as_soon_as_nobody_accepts_on_it(path: Path) -> None:
    may_end, requested = anyio.Event(), anyio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        requested.set()
        await may_end.wait()
        await reply(send, b"done")

    async with serve_background(slow, uds=str(path), access_log=False, lifespan="off") as server:
        client = await anyio.connect_unix(str(path))
        await client.send(REQUEST)
        await requested.wait()
        server.request_shutdown()
        while path.exists():  # noqa: ASYNC110  # a file has no event
            await anyio.sleep(0.001)
        async with serving(uds=str(path)):
            may_end.set()
            assert (await client.receive()).endswith(b"done")
            assert await fetch(path)
        await client.aclose()


async def test_a_failed_startup_leaves_nothing(path: Path) -> None:
    async def fails(receive: Receive, send: Send) -> None:
        await receive()
        raise ValueError("no database")

    with pytest.raises(StartupFailed):
        await Server(with_lifespan(fails), Config(uds=str(path))).serve()
    assert not path.exists()


async def test_another_server_that_takes_the_socket_before_we_listen(path: Path) -> None:
    [ours] = await bind(Config(uds=str(path)))
    [other] = await bind(Config(uds=str(path)))  # nobody listens yet, so ours looks stale
    with pytest.raises(BindFailed, match=r"another server has taken the socket"):
        listen_on(ours, 1)
    listen_on(other, 1)
    release([ours])
    assert path.exists()
    release([other])
    assert not path.exists()


@pytest.mark.parametrize("turns", range(8))
async def test_a_stop_at_any_moment_of_the_start_ends_the_server_and_removes_the_file(path: Path, turns: int) -> None:
    """Each turn of the event loop after the application has started is another place in the server's start."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(COMPLETE)
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        stopping.cancel()
        await receive()
        await send(STOPPED)

    config = Config(access_log=False, lifespan="on", uds=str(path))
    with anyio.CancelScope() as stopping:
        await Server(app, config.replace(timeout_graceful_shutdown=None)).serve()  # whatever it waits for has to end
    assert not path.exists()


# -- what cannot be bound ----------------------------------------------------------------------------------------------


async def test_a_directory_that_is_not_there(path: Path) -> None:
    assert await refusal(uds=f"{path}/app.sock") == f"cannot listen on unix:{path}/app.sock: there is no such directory"
    path.write_text("")
    assert "there is no such directory" in await refusal(uds=f"{path}/app.sock")


async def test_a_path_that_is_too_long(path: Path) -> None:
    long = f"{path}{'x' * 100}"
    assert "the path is too long for a socket" in await refusal(uds=long)


async def test_a_directory_that_is_not_writable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Forbidden(socket.socket):
        def bind(self, address: Any) -> None:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "socket", Forbidden)  # the tests may run as root, who may everything
    assert "not permitted; the directory must be writable" in await refusal(uds=str(path))


async def test_a_system_without_unix_sockets(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    assert "this system has no unix sockets" in await refusal(uds=str(path))


async def test_when_one_address_fails_the_others_are_given_back(path: Path) -> None:
    app = LifespanApp()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(BindFailed, match="the port is in use"):
            await trioserve.serve(app, bind=[f"unix:{path}", f"127.0.0.1:{port}"])
    assert not path.exists()
    assert app.events == []
