"""``sendmsg`` for many pieces: what the kernel takes, and what it leaves."""

import socket
from collections.abc import Iterator

import pytest

from trioserve._streams.sockets import can_gather, send_pieces


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        yield near, far


def test_the_kernel_takes_a_thousand_at_once() -> None:
    assert can_gather([b""] * 1024)
    assert not can_gather([b""] * 1025)


def test_all_is_taken(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    assert not send_pieces(near, [b"one", b"", b"two"], 6)
    assert far.recv(100) == b"onetwo"


def test_the_rest_begins_where_the_kernel_stopped(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    pieces = [b"%4d" % number * 500 for number in range(1000)]
    whole = b"".join(pieces)
    rest = bytes(send_pieces(near, pieces, len(whole)))
    taken = len(whole) - len(rest)
    assert 0 < taken < len(whole)
    assert whole[taken:] == rest
    assert far.recv(taken, socket.MSG_WAITALL) == whole[:taken]
    assert bytes(send_pieces(near, [rest], len(rest)))[-4:] == b" 999"


def test_nothing_is_taken_by_a_full_socket(ends: tuple[socket.socket, socket.socket]) -> None:
    near, _ = ends
    with pytest.raises(BlockingIOError):
        while True:
            near.send(b"x" * 10_000)
    assert bytes(send_pieces(near, [b"one", b"two"], 6)) == b"onetwo"


def test_a_broken_connection_is_an_error(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    far.close()
    with pytest.raises(OSError, match="Broken pipe"):
        send_pieces(near, [b"one", b"two"], 6)
