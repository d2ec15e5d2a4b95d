"""What is particular to connections in memory."""

import anyio
import pytest

from tests.helpers.stream_pairs import PLAIN_KINDS, Kind, waits
from trioserve import ClientDisconnected
from trioserve._streams.memory import MemoryListener, memory_stream_pair
from trioserve.testing import settled


@pytest.fixture(params=[kind for kind in PLAIN_KINDS if kind.network is None], ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


async def test_what_is_sent_as_one_piece_is_received_as_one_piece() -> None:
    client, server = memory_stream_pair()
    for piece in (b"one", b"two", b"three"):
        server.send_nowait(piece)
    assert [await client.receive_some() for _ in range(3)] == [b"one", b"two", b"three"]


async def test_one_task_at_a_time_receives() -> None:  # sockets insist on it, so tests in memory have to
    _, server = memory_stream_pair()
    async with anyio.create_task_group() as receiving:
        receiving.start_soon(server.receive_some)
        await settled()
        with pytest.raises(anyio.BusyResourceError):
            await server.receive_some()
        receiving.cancel_scope.cancel()


async def test_no_more_than_the_capacity_is_in_flight() -> None:
    client, server = memory_stream_pair(capacity=10)
    server.send_nowait(b"x" * 25)
    assert server.unsent == 15
    assert server.congested
    assert await client.receive_some() == b"x" * 10
    assert server.unsent == 5
    assert await client.receive_some(4) == b"x" * 4
    assert server.unsent == 1
    await client.receive_exactly(11)
    assert not server.congested


async def test_bytes_to_a_closed_end_cost_the_sender_what_it_has_not_read() -> None:  # RFC 9112 §9.6
    client, server = memory_stream_pair()
    server.send_nowait(b"answer")
    assert server.close_nowait()
    client.send_nowait(b"more")
    assert client.lost
    with pytest.raises(ClientDisconnected):
        await client.receive_some()


async def test_closing_with_bytes_unread_costs_the_peer_what_it_has_not_read() -> None:  # RFC 9112 §9.6
    client, server = memory_stream_pair()
    client.send_nowait(b"unread")
    server.send_nowait(b"answer")
    assert server.close_nowait()
    assert client.lost
    assert await client.receive_rest() == b""


async def test_what_was_sent_before_an_abort_can_be_received() -> None:
    client, server = memory_stream_pair()
    server.send_nowait(b"begun")
    server.abort()
    assert client.lost
    assert await client.receive_rest() == b"begun"


async def test_receive_until_leaves_what_follows() -> None:
    client, server = memory_stream_pair()
    for piece in (b"head\r\n", b"\r", b"\nbody", b"!"):
        server.send_nowait(piece)
    assert await client.receive_until(b"\r\n\r\n") == b"head\r\n\r\n"
    assert await client.receive_exactly(5) == b"body!"


async def test_receive_until_and_exactly_say_what_came_instead() -> None:
    for receive in ("until", "exactly"):
        client, server = memory_stream_pair()
        server.send_nowait(b"short")
        server.send_eof()
        with pytest.raises(EOFError, match="short"):
            await (client.receive_until(b"\r\n") if receive == "until" else client.receive_exactly(6))


async def test_send_all_waits_for_the_server() -> None:
    client, server = memory_stream_pair(capacity=10)
    assert await waits(lambda: client.send_all(b"x" * 20))
    server.abort()
    with pytest.raises(ClientDisconnected):
        await client.send_all(b"x")


async def test_a_closed_listener_refuses_and_resets() -> None:
    listener = MemoryListener()
    client = listener.connect()
    listener.close()
    assert client.lost
    with pytest.raises(ConnectionRefusedError):
        listener.connect()


async def test_both_ends_know_their_addresses() -> None:
    listener = MemoryListener(("192.0.2.7", 443))
    client = listener.connect(("192.0.2.8", 1234))
    stream = await listener.accept()
    assert stream.local == client.peer == ("192.0.2.7", 443)
    assert stream.peer == client.local == ("192.0.2.8", 1234)


async def test_both_ends_may_be_busy_at_once() -> None:
    client, server = memory_stream_pair(capacity=100)

    async def echo() -> None:
        while data := await server.receive_some():
            server.send_nowait(data)
            await server.drain()
        await server.aclose()

    async def ask() -> None:
        await client.send_all(b"x" * 10_000)
        client.send_eof()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(echo)
        tasks.start_soon(ask)
        assert await client.receive_rest() == b"x" * 10_000
    assert not client.lost
