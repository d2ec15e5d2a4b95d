"""Sockets that somebody else has bound: passed in by a program, or open as a file descriptor."""

import functools
import os
import socket
from pathlib import Path
from typing import ClassVar

import anyio
import pytest

import trioserve
from tests.helpers.apps import hello
from trioserve import BindFailed, Config, StartupFailed
from trioserve._server import Server
from trioserve._server.listeners import Bound, bind, listen_on
from trioserve._types import Receive, Scope, Send

pytestmark = [pytest.mark.real_clock, pytest.mark.usefixtures("nothing_unclosed")]

QUIET = Config(access_log=False, lifespan="off")
REQUEST = b"GET /here HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"


async def fetch(address: tuple[str, int | None]) -> bytes:
    host, port = address
    connected = anyio.connect_unix(host) if port is None else anyio.connect_tcp(host, port)
    async with await connected as stream:
        await stream.send(REQUEST)
        return b"".join([data async for data in stream]).partition(b"\r\n\r\n")[2]


# -- from the program --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("listens", [True, False])
async def test_sockets_of_the_program(listens: bool, tmp_path: Path) -> None:
    path = str(tmp_path / "app.sock")
    tcp, unix = socket.socket(), socket.socket(socket.AF_UNIX)
    tcp.bind(("127.0.0.1", 0))
    unix.bind(path)
    if listens:
        tcp.listen()
        unix.listen()
    async with anyio.create_task_group() as nursery:
        serve = functools.partial(trioserve.serve, hello, QUIET, sockets=[tcp, unix])
        addresses = await nursery.start(serve)
        assert addresses == [tcp.getsockname(), (path, None)]
        for address in addresses:
            assert await fetch(address) == b"/here"
        nursery.cancel_scope.cancel()
    assert tcp.fileno() == unix.fileno() == -1
    assert Path(path).exists()  # who made it removes it


async def test_they_take_the_place_of_addresses(tmp_path: Path) -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    async with anyio.create_task_group() as nursery:
        serve = functools.partial(trioserve.serve, hello, QUIET, sockets=[sock], uds=str(tmp_path / "no"))
        assert await nursery.start(serve) == [sock.getsockname()]
        assert not (tmp_path / "no").exists()
        nursery.cancel_scope.cancel()


async def test_what_was_bound_elsewhere_can_be_served_here(tmp_path: Path) -> None:
    config = QUIET.replace(bind=["127.0.0.1:0", f"unix:{tmp_path / 'app.sock'}"])
    bound = await bind(config)
    async with anyio.create_task_group() as nursery:
        server = Server(hello, config, sockets=bound)
        for address in await nursery.start(server.serve):
            assert await fetch(address) == b"/here"
        nursery.cancel_scope.cancel()
    assert not (tmp_path / "app.sock").exists()  # the file went with the socket


async def test_a_failed_startup_closes_them() -> None:
    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise ValueError("no database")

    sock = socket.create_server(("127.0.0.1", 0))
    with pytest.raises(StartupFailed):
        await trioserve.serve(fails, QUIET, sockets=[sock], lifespan="on")
    assert sock.fileno() == -1


async def test_no_socket_at_all() -> None:
    with pytest.raises(BindFailed, match="the list of sockets is empty"):
        await trioserve.serve(hello, QUIET, sockets=[])


async def test_a_datagram_socket() -> None:
    good, sock = socket.create_server(("127.0.0.1", 0)), socket.socket(type=socket.SOCK_DGRAM)
    with pytest.raises(BindFailed, match=rf"socket {sock.fileno()}: it is no stream socket"):
        await trioserve.serve(hello, QUIET, sockets=[good, sock])
    assert good.fileno() == sock.fileno() == -1


async def test_a_closed_socket() -> None:
    sock = socket.socket()
    sock.close()
    with pytest.raises(BindFailed, match="it is closed"):
        await trioserve.serve(hello, QUIET, sockets=[sock])


async def test_a_connected_socket() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    sock = socket.create_connection(listener.getsockname())
    with listener, pytest.raises(BindFailed, match="cannot listen on the socket of "):
        await trioserve.serve(hello, QUIET, sockets=[sock])


async def test_answers_leave_without_delay() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        await _cancelled_serve(sock.dup())
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)  # both descriptors are of one socket


async def _cancelled_serve(sock: socket.socket) -> None:
    async with anyio.create_task_group() as nursery:
        await nursery.start(functools.partial(trioserve.serve, hello, QUIET, sockets=[sock]))
        nursery.cancel_scope.cancel()


# -- by file descriptor ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["tcp", "unix"])
@pytest.mark.parametrize("option", ["fd", "bind"])
async def test_an_inherited_socket(family: str, option: str, tmp_path: Path) -> None:
    path = str(tmp_path / "app.sock")
    if family == "tcp":
        ours = socket.create_server(("127.0.0.1", 0))
    else:
        ours = socket.socket(socket.AF_UNIX)
        ours.bind(path)
        ours.listen()
    fd = os.dup(ours.fileno())
    os.set_inheritable(fd, True)
    config = QUIET.replace(fd=fd) if option == "fd" else QUIET.replace(bind=[f"fd://{fd}"])
    with ours:
        async with anyio.create_task_group() as nursery:
            [address] = await nursery.start(trioserve.serve, hello, config)
            assert not os.get_inheritable(fd)
            assert await fetch(address) == b"/here"
            nursery.cancel_scope.cancel()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)  # others may go on with it
        assert family == "tcp" or Path(path).exists()


def test_the_backlog_of_a_socket_that_listens_stays() -> None:
    class Recording(socket.socket):
        backlogs: ClassVar[list[int]] = []

        def listen(self, backlog: int = 0) -> None:
            self.backlogs.append(backlog)
            super().listen(backlog)

    with Recording() as sock:
        sock.bind(("127.0.0.1", 0))
        listen_on(Bound(sock), 7)
        listen_on(Bound(sock), 2048)
        assert sock.backlogs == [7]


async def refusal(fd: int) -> str:
    with pytest.raises(BindFailed) as error:
        await bind(Config(fd=fd))
    return str(error.value)


async def test_a_descriptor_that_is_not_open() -> None:
    assert await refusal(999) == "cannot listen on fd://999: it is not open"
    assert await refusal(2**32) == f"cannot listen on fd://{2**32}: it is not open"  # in C it would be 0


async def test_a_file() -> None:
    with open(os.devnull) as file:  # noqa: ASYNC230
        assert await refusal(file.fileno()) == f"cannot listen on fd://{file.fileno()}: it is no socket"
        file.read()


async def test_a_socket_that_does_not_listen() -> None:
    with socket.socket() as sock:
        assert await refusal(sock.fileno()) == f"cannot listen on fd://{sock.fileno()}: the socket does not listen"
        sock.bind(("127.0.0.1", 0))  # it was left open


async def test_a_datagram_socket_by_descriptor() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        assert await refusal(sock.fileno()) == f"cannot listen on fd://{sock.fileno()}: it is no stream socket"
