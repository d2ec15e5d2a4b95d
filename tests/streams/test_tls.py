"""What is particular to TLS; all that a stream has to do, TLS streams do in the other files of this directory."""

import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from tests.helpers.certificates import (
    client_certificate,
    client_context,
    expired_certificate,
    foreign_authority,
    foreign_client_certificate,
    identity,
    server_certificate,
)
from tests.helpers.stream_pairs import PLAIN_KINDS, Kind, MemoryPeer, TlsPeer, eventually, waits
from trioserve import ClientDisconnected
from trioserve._streams import ServerIdentity, tls_facts
from trioserve._streams.memory import MemoryListener, MemoryStream, memory_stream_pair
from trioserve._streams.tls import TlsListener, TlsStream

MUCH = bytes(range(256)) * 8192  # 2 MiB
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(params=[kind for kind in PLAIN_KINDS if kind.network is None], ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def context(request: pytest.FixtureRequest) -> ssl.SSLContext:
    """A client's, for one version of TLS."""
    context = client_context()
    context.minimum_version = context.maximum_version = request.param
    return context


class Ends:
    """Both ends of a connection in memory, not opened yet; ``below`` is what TLS bytes go through."""

    def __init__(
        self, context: ssl.SSLContext, known: ServerIdentity, capacity: int, piece: int | None
    ) -> None:
        client, self.below = memory_stream_pair(capacity)
        self.stream = TlsStream(self.below, known)
        self.peer = TlsPeer(MemoryPeer(client), context, piece=piece)
        self.client = client

    async def open(self) -> None:
        await together(self.stream.open, self.peer.open)


async def together(*tasks: Callable[[], Awaitable[Any]]) -> None:
    """Run them side by side; what one raises ends the others, and is raised as it is."""
    failures: list[Exception] = []

    async def run(task: Callable[[], Awaitable[Any]]) -> None:
        try:
            await task()
        except Exception as exc:
            failures.append(exc)
            running.cancel_scope.cancel()

    async with anyio.create_task_group() as running:
        for task in tasks:
            running.start_soon(run, task)
    if failures:
        raise failures[0]


@asynccontextmanager
async def ends(
    context: ssl.SSLContext | None = None, known: ServerIdentity | None = None, *, capacity: int = 64 * 1024,
    piece: int | None = None,
) -> AsyncIterator[Ends]:
    pair = Ends(context or client_context(), known or identity(), capacity, piece)
    yield pair
    pair.stream.abort()
    pair.client.abort()


# -- the handshake ---------------------------------------------------------------------------------------------------


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
            await pair.peer._retry(pair.peer.ssl.do_handshake)
            pair.peer.ssl.write(b"first")  # leaves together with the client's Finished
            await pair.peer._flush()
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


# -- who may come ----------------------------------------------------------------------------------------------------


async def test_a_client_whose_authority_is_another_does_not_come_in() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    foreign_authority().configure_trust(context)
    async with ends(context) as pair:

        async def refuse() -> None:
            with pytest.raises(ssl.SSLCertVerificationError):
                await pair.peer.open()
            pair.client.send_eof()

        with pytest.raises(ClientDisconnected):
            await together(pair.stream.open, refuse)


@pytest.mark.parametrize(("certificate", "verify", "alert"), [
    (None, ssl.CERT_REQUIRED, "CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE"),
    (foreign_client_certificate, ssl.CERT_REQUIRED, "UNKNOWN_CA"),
    (foreign_client_certificate, ssl.CERT_OPTIONAL, "UNKNOWN_CA"),
    (expired_certificate, ssl.CERT_REQUIRED, "CERTIFICATE_EXPIRED"),
])
async def test_a_client_certificate_that_is_not_accepted(
    context: ssl.SSLContext, certificate: Any, verify: ssl.VerifyMode, alert: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "trioserve")
    if certificate is not None:
        certificate().configure_cert(context)
    async with ends(context, identity(verify)) as pair:

        async def come_and_be_told() -> None:
            with pytest.raises(ssl.SSLError, match=alert):
                await pair.peer.open()
                await pair.peer.receive()
            pair.client.send_eof()

        with pytest.raises(ClientDisconnected):
            await together(pair.stream.open, come_and_be_told)
    assert "TLS handshake with" in caplog.text


async def test_what_a_handshake_has_settled(context: ssl.SSLContext) -> None:
    client_certificate().configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with ends(context, identity(ssl.CERT_OPTIONAL)) as pair:
        await pair.open()
        facts = tls_facts(pair.stream)
        assert facts is not None
        assert facts.version == {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}[pair.peer.ssl.version() or ""]
        cipher = pair.peer.ssl.cipher()
        assert cipher is not None
        assert facts.cipher_suite == next(
            known["id"] & 0xFFFF for known in context.get_ciphers() if known["name"] == cipher[0])
        assert facts.server_certificate == server_certificate().cert_chain_pems[0].bytes().decode()
        assert facts.client_chain[0] == ssl.PEM_cert_to_DER_cert(
            client_certificate().cert_chain_pems[0].bytes().decode())
        assert facts.protocol == "http/1.1"


async def test_a_client_without_a_certificate_has_no_chain() -> None:
    async with ends(known=identity(ssl.CERT_OPTIONAL)) as pair:
        await pair.open()
        assert pair.stream.facts().client_chain == ()
        assert pair.stream.facts().protocol is None


async def test_the_cipher_suite_is_iana_s() -> None:
    context = client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    async with ends(context) as pair:
        await pair.open()
        assert pair.stream.facts().cipher_suite == 0xC02B  # TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256


async def test_a_plain_stream_has_no_facts() -> None:
    assert tls_facts(memory_stream_pair()[1]) is None


async def test_a_listener_presents_what_the_identity_holds_by_then() -> None:
    memory, known = MemoryListener(), identity()
    listener = TlsListener(memory, known)
    assert listener.address == memory.address
    before = memory.connect()
    old = await listener.accept()
    known.context, known.certificate = identity().context, "another"
    after = memory.connect()
    new = await listener.accept()
    for client, stream, certificate in ((before, old, server_certificate().cert_chain_pems[0].bytes().decode()),
                                        (after, new, "another")):
        peer = TlsPeer(MemoryPeer(client), client_context())
        await together(stream.open, peer.open)
        facts = tls_facts(stream)
        assert facts is not None and facts.server_certificate == certificate
        stream.abort()
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        memory.connect()


# -- the end of a connection -----------------------------------------------------------------------------------------


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


# -- much ------------------------------------------------------------------------------------------------------------


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
