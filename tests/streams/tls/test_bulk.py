"""Much at once over TLS."""

import ssl

import pytest

from tests.helpers.tls_ends import ends, together

MUCH = bytes(range(256)) * 8192  # 2 MiB


@pytest.mark.parametrize("capacity", [1000, 64 * 1024, 1024 * 1024])
async def test_much_in_both_directions_at_once(context: ssl.SSLContext, capacity: int) -> None:
    async with ends(context, capacity=capacity) as pair:
        await pair.open()
        received = {"server": b"", "client": b""}

        async def server_receives() -> None:
            while len(received["server"]) < len(MUCH):
                received["server"] += await pair.stream.receive_some()

        async def client_receives() -> None:
            while len(received["client"]) < len(MUCH):
                received["client"] += await pair.peer.receive()

        async def server_sends() -> None:
            for start in range(0, len(MUCH), 100_000):
                pair.stream.send_nowait(MUCH[start : start + 100_000])
                await pair.stream.drain()

        await together(server_receives, client_receives, server_sends, lambda: pair.peer.send(MUCH))
        assert received == {"server": MUCH, "client": MUCH}


async def test_much_as_one_piece_keeps_no_buffer_of_that_size(context: ssl.SSLContext) -> None:
    async with ends(context) as pair:
        await pair.open()
        pair.stream.send_nowait(MUCH)
        assert pair.stream.congested
        assert pair.stream._outgoing.pending == 0
        received = b""
        while len(received) < len(MUCH):
            received += await pair.peer.receive()
        assert received == MUCH


async def test_a_flood_of_records_arrives_whole() -> None:
    async with ends() as pair:
        await pair.open()
        for number in range(1000):
            pair.peer.ssl.write(b"%03d" % number)
        sending = pair.peer.outgoing.read()
        await pair.client.send_all(sending)
        received = b""
        while len(received) < 3000:
            received += await pair.stream.receive_some()
        assert received == b"".join(b"%03d" % number for number in range(1000))
