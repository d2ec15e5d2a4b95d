"""Who may come over TLS, and what a handshake has settled."""

import ssl
from typing import Any

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
from tests.helpers.stream_pairs import MemoryPeer, TlsPeer
from tests.helpers.tls_ends import ends, together
from trioserve import ClientDisconnected
from trioserve._streams import tls_facts
from trioserve._streams.memory import MemoryListener, memory_stream_pair
from trioserve._streams.tls import TlsListener


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
