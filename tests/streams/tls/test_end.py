"""The end of a TLS connection: ``close_notify``, its absence, and a connection that breaks."""

import ssl

import anyio
import pytest

from tests.helpers.stream_pairs import waits
from tests.helpers.tls_ends import ends
from trioserve import ClientDisconnected


async def test_close_notify_alone_is_the_end(context: ssl.SSLContext) -> None:  # RFC 8446 §6.1
    async with ends(context) as pair:
        await pair.open()
        await pair.peer.send(b"last")
        await pair.peer.notify_close()
        assert await pair.stream.receive_some() == b"last"
        assert await pair.stream.receive_some() == b""
        assert pair.stream.is_disconnected()
        assert not pair.stream.lost
        pair.stream.send_nowait(b"answer")
        assert await pair.peer.receive() == b"answer"


async def test_a_watcher_hears_close_notify(context: ssl.SSLContext) -> None:
    async with ends(context) as pair:
        await pair.open()
        async with anyio.create_task_group() as watching:
            watching.start_soon(pair.stream.wait_disconnected)
            assert await waits(anyio.sleep_forever)
            await pair.peer.notify_close()
        assert pair.stream.is_disconnected()


async def test_an_end_without_close_notify_is_an_end(context: ssl.SSLContext) -> None:  # RFC 9112 §9.8
    async with ends(context) as pair:
        await pair.open()
        await pair.peer.send(b"last")
        pair.client.send_eof()
        assert await pair.stream.receive_some() == b"last"
        assert await pair.stream.receive_some() == b""
        pair.stream.send_nowait(b"answer")
        assert await pair.peer.receive() == b"answer"


async def test_a_record_that_is_cut_short_is_not_received(context: ssl.SSLContext) -> None:  # RFC 8446 §6.1
    async with ends(context) as pair:
        await pair.open()
        pair.peer.ssl.write(b"cut short")
        await pair.client.send_all(pair.peer.outgoing.read()[:-1])
        pair.client.send_eof()
        assert await pair.stream.receive_some() == b""


@pytest.mark.parametrize("close", ["send_eof", "close_nowait", "aclose"])
async def test_our_end_is_announced_by_close_notify_once(context: ssl.SSLContext, close: str) -> None:
    async with ends(context) as pair:
        await pair.open()
        pair.stream.send_nowait(b"last")
        if close == "aclose":
            await pair.stream.aclose()
        else:
            getattr(pair.stream, close)()
        assert await pair.peer.receive() == b"last"
        assert pair.peer.ssl.read() == b"" if pair.peer.incoming.pending else await pair.peer.receive() == b""
        if close == "send_eof":
            pair.stream.send_nowait(b"too late")
            pair.stream.close_nowait()
        assert await pair.client.receive_rest() == b""


async def test_both_may_announce_their_end(context: ssl.SSLContext) -> None:
    async with ends(context) as pair:
        await pair.open()
        pair.stream.send_eof()
        assert await pair.peer.receive() == b""
        await pair.peer.send(b"last")
        assert await pair.stream.receive_some() == b"last"
        await pair.peer.notify_close()
        assert await pair.stream.receive_some() == b""
        assert pair.stream.is_disconnected()
        assert not pair.stream.lost


async def test_whoever_asks_hears_that_the_session_broke() -> None:
    async with ends() as pair:
        await pair.open()
        await pair.client.send_all(b"\x17\x03\x03\x00\x20" + bytes(32))
        assert pair.stream.is_disconnected()
        assert pair.stream.lost


async def test_an_abort_announces_nothing() -> None:  # RFC 9112 §8: what was cut short must not look complete
    async with ends() as pair:
        await pair.open()
        pair.stream.send_nowait(b"begun")
        assert await pair.peer.receive() == b"begun"
        pair.stream.abort()
        assert await pair.client.receive_rest() == b""


async def test_a_connection_that_is_tampered_with_breaks(
    context: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "trioserve")
    async with ends(context) as pair:
        await pair.open()
        pair.peer.ssl.write(b"genuine")
        pair.peer.ssl.write(b"forged")
        data = bytearray(pair.peer.outgoing.read())
        data[-1] ^= 1
        await pair.client.send_all(bytes(data))
        assert await pair.stream.receive_some() == b"genuine"  # the same read met both
        assert pair.stream.lost
        with pytest.raises(ClientDisconnected):
            await pair.stream.receive_some()
        with pytest.raises(ClientDisconnected):
            pair.stream.receive_nowait()
        with pytest.raises(ClientDisconnected):
            await pair.stream.drain()
        pair.stream.send_nowait(b"unheard")
        await pair.stream.wait_disconnected()
        assert pair.stream.is_disconnected()
        with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
            await pair.peer.receive()
    assert "bad record mac" in caplog.text
