"""What a stream knows of the bytes on its wire."""

import sys

import pytest

from tests.helpers.stream_pairs import Kind, connected, eventually

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
