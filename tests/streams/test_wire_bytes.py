"""What a stream knows of the bytes on its wire."""

import socket
import struct
import sys

import pytest

from tests.helpers.stream_pairs import MUCH, Kind, connected, eventually
from trioserve._streams.sockets import kernel_queue

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts them")


async def test_the_kernel_counts_both_directions(kind: Kind) -> None:
    async with connected(kind) as pair:
        if (before := pair.stream.wire_bytes()) is None:
            assert kind.network is None
            return
        await pair.peer.send(b"x" * 1000)
        received = 0
        while received < 1000:
            received += len(await pair.stream.receive_some())
        pair.stream.send_nowait(b"y" * 300)
        pair.stream.uncork()

        def news() -> tuple[int, int]:
            now = pair.stream.wire_bytes()
            assert now is not None
            return now[0] - before[0], now[1] - before[1]

        if kind.tls:  # records have their own bytes
            await eventually(lambda: news()[0] > 1000 and news()[1] > 300)
        else:
            await eventually(lambda: news() == (1000, 300))


async def test_a_closed_stream_counts_nothing(kind: Kind) -> None:
    async with connected(kind) as pair:
        pair.stream.abort()
        await eventually(lambda: pair.stream.wire_bytes() is None)


@pytest.mark.parametrize("half_closed", [False, True])
def test_a_client_that_has_gone_takes_nothing_more(half_closed: bool) -> None:
    """Linux goes on counting."""
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as client:
        client.connect(listening.getsockname())
        server, _ = listening.accept()
        with server:
            if half_closed:
                client.shutdown(socket.SHUT_WR)
            server.setblocking(False)
            server.send(MUCH)
            assert kernel_queue(server) > 0
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()  # with a reset, which arrives before the call returns
            assert kernel_queue(server) == 0
