"""The handshake of TLS: in pieces, refused, cancelled, and left by its client."""

import contextlib
import re
import ssl
from typing import Any

import anyio
import pytest

from tests.helpers.certificates import client_certificate, client_context, identity
from tests.helpers.stream_pairs import TlsPeer, eventually, waits
from tests.helpers.tls_ends import Ends, ends, together
from trioserve import ClientDisconnected
from trioserve._streams.memory import MemoryStream


async def test_there_and_back(context: ssl.SSLContext) -> None:
    async with ends(context) as pair:
        await pair.open()
        await pair.peer.send(b"ping")
        assert await pair.stream.receive_some() == b"ping"
        pair.stream.send_nowait(b"pong")
        assert await pair.peer.receive() == b"pong"


async def test_a_handshake_byte_by_byte(context: ssl.SSLContext) -> None:
    async with ends(context, piece=1) as pair:
        await pair.open()
        await pair.peer.send(b"dribbled")
        assert await pair.stream.receive_some() == b"dribbled"


async def test_a_handshake_through_a_narrow_network(context: ssl.SSLContext) -> None:
    async with ends(context, capacity=7) as pair:
        await pair.open()
        pair.stream.send_nowait(b"narrow")
        assert await pair.peer.receive() == b"narrow"


async def test_a_request_may_come_with_the_end_of_the_handshake() -> None:
    async with ends() as pair:
        opened = anyio.Event()

        async def open_stream() -> None:
            await pair.stream.open()
            opened.set()

        async with anyio.create_task_group() as opening:
            opening.start_soon(open_stream)
            await pair.peer.perform(pair.peer.ssl.do_handshake)
            pair.peer.ssl.write(b"first")  # leaves together with the client's Finished
            await pair.peer.flush()
            await opened.wait()
        assert pair.stream.receive_nowait() == b"first"
        assert pair.stream.receive_nowait() is None


async def test_session_tickets_disturb_nothing(context: ssl.SSLContext) -> None:  # RFC 8446 §4.6.1
    async with ends(context) as pair:
        await pair.open()
        assert pair.stream.receive_nowait() is None
        assert await waits(pair.peer.receive)
        assert not pair.stream.is_disconnected()


async def test_a_session_is_resumed_and_the_client_remembered() -> None:
    known = identity(ssl.CERT_REQUIRED)
    context = client_context(client_certificate())
    async with ends(context, known) as pair:
        await pair.open()
        pair.stream.send_nowait(b"tickets")
        await pair.peer.receive()
        session = pair.peer.ssl.session
    again = Ends(context, known, 65536, None)
    again.peer.ssl.session = session
    await again.open()
    assert again.peer.ssl.session_reused
    facts = again.stream.facts()
    assert facts.client_chain[0] == ssl.PEM_cert_to_DER_cert(client_certificate().cert_chain_pems[0].bytes().decode())
    again.stream.abort()


@pytest.mark.parametrize("sent", [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"OPTIONS * HTTP/1.1\r\n\r\n", b"DELETE /a HTTP/1.1\r\n\r\n", b"PATCH /a",
    b"CONNECT a:1 HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"MKCOL http://a/ HTTP/1.1\r\n\r\n",
    b"SSH-2.0-x\r\n", b"\x00" * 100, b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
    b"\x80\x2e\x01\x00\x02" + b"\x00" * 43,
])
async def test_what_is_no_handshake_is_refused(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "trioserve")
    async with ends() as pair:
        await pair.client.send_all(sent)

        told = b""

        async def leave_when_told() -> None:
            nonlocal told
            told = await pair.client.receive_rest()  # an alert, or nothing
            pair.client.send_eof()

        with pytest.raises(ClientDisconnected):
            await together(pair.stream.open, leave_when_told)
        assert pair.stream.lost
    [record] = caplog.records
    assert (record.levelname, record.getMessage()[:19]) == ("DEBUG", "TLS handshake with ")
    is_http = re.match(rb"[A-Z]+ ", sent) is not None
    assert ("plain HTTP" in record.getMessage()) is told.startswith(b"HTTP/1.1 400 ") is is_http


async def test_a_client_that_leaves_during_the_handshake(caplog: pytest.LogCaptureFixture) -> None:
    async with ends() as pair:
        pair.client.send_eof()
        with pytest.raises(ClientDisconnected):
            await pair.stream.open()


async def test_a_client_that_resets_during_the_handshake() -> None:
    async with ends() as pair:
        pair.client.abort()
        with pytest.raises(ClientDisconnected):
            await pair.stream.open()


async def test_an_abort_ends_a_waiting_handshake() -> None:
    async with ends() as pair, anyio.create_task_group() as opening:

        @opening.start_soon
        async def open_stream() -> None:
            with pytest.raises(ClientDisconnected):
                await pair.stream.open()

        assert await waits(anyio.sleep_forever)
        pair.stream.abort()


async def test_a_handshake_that_was_not_begun_receives_nothing_and_can_be_closed() -> None:
    async with ends() as pair:
        assert await waits(pair.stream.open)
        assert pair.stream.receive_nowait() is None
        assert not pair.stream.is_disconnected()
        pair.stream.send_nowait(b"lost")
        await pair.stream.aclose()
        assert await pair.client.receive_rest() == b""


async def test_a_cancelled_handshake_can_be_aborted_at_each_step(context: ssl.SSLContext) -> None:
    steps = 0
    while True:
        async with ends(context, capacity=50) as pair:
            scope = anyio.CancelScope()
            left = steps
            receive_some = pair.below.receive_some

            async def receive_or_cancel(max_bytes: int = 65536, receive: Any = receive_some) -> bytes:
                nonlocal left
                if left == 0:
                    scope.cancel()  # noqa: B023  # of this round
                left -= 1
                data: bytes = await receive(max_bytes)
                return data

            below = WithReceive(pair.below, receive_or_cancel)
            pair.stream._inner = below

            async def open_or_be_cancelled() -> None:
                with scope:  # noqa: B023
                    await pair.stream.open()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(open_or_be_cancelled)
                tasks.start_soon(open_quietly, pair.peer)
                await scope_ended(scope, pair)
                pair.stream.abort()
            assert pair.stream.lost
            if not scope.cancelled_caught:
                break
        steps += 1
    assert steps > 3


class WithReceive:
    """A stream with another ``receive_some``."""

    def __init__(self, stream: MemoryStream, receive_some: Any) -> None:
        self._stream = stream
        self.receive_some = receive_some

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


async def open_quietly(peer: TlsPeer) -> None:
    with contextlib.suppress(OSError):  # the other end may have been cancelled; SSLError is one, too
        await peer.open()


async def scope_ended(scope: anyio.CancelScope, pair: Ends) -> None:
    await eventually(lambda: scope.cancelled_caught or not pair.stream._reading)
