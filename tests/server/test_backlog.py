"""The end of a listening socket: who is in the backlog is served, and nobody gets into it any more."""

import socket
import sys
from pathlib import Path

import pytest

from trioserve import Config
from trioserve._server.listeners import bind, listen_on, own, refuse_new, release

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="uses Linux's socket filters and TCP_INFO")

ESTABLISHED, SYN_SENT = 1, 2    # <linux/tcp_states.h>


def attempt(address: tuple[str, int]) -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    sock.connect_ex(address)
    return sock


def state(sock: socket.socket) -> int:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


async def test_who_is_in_the_backlog_stays() -> None:
    [bound] = await bind(Config(port=0))
    listen_on(bound, 10)
    address = bound.sock.getsockname()
    with attempt(address) as early:
        assert state(early) == ESTABLISHED
        refuse_new([bound])
        with attempt(address) as late:
            assert state(late) == SYN_SENT
            accepted, _ = bound.sock.accept()
            with accepted:
                early.setblocking(True)
                early.sendall(b"request")
                assert accepted.recv(100) == b"request"
                accepted.sendall(b"answer")
                assert early.recv(100) == b"answer"
            with pytest.raises(BlockingIOError):
                bound.sock.setblocking(False)
                bound.sock.accept()
            release([bound])


async def test_the_file_of_a_unix_socket_goes(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    [bound] = await bind(Config(uds=str(path)))
    listen_on(bound, 10)
    refuse_new([bound])
    assert not path.exists()
    release([bound])


async def test_a_socket_that_others_may_share_is_left_alone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as shared:
        bounds = own([shared.dup()])
        refuse_new(bounds)
        release(bounds)
        with attempt(shared.getsockname()) as client:
            assert state(client) == ESTABLISHED
