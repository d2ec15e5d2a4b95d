"""Certificates for tests, from authorities that live as long as the process. Making a key takes a while: do it once."""

import ssl
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import trustme

from trioserve._streams import ServerIdentity

__all__ = [
    "authority", "client_certificate", "client_context", "expired_certificate", "files_of", "foreign_authority",
    "foreign_client_certificate", "identity", "server_certificate",
]  # fmt: skip


@cache
def authority() -> trustme.CA:
    return trustme.CA()


@cache
def foreign_authority() -> trustme.CA:
    """One that nobody trusts."""
    return trustme.CA()


@cache
def server_certificate() -> trustme.LeafCert:
    return authority().issue_cert("localhost", "127.0.0.1")


@cache
def client_certificate() -> trustme.LeafCert:
    return authority().issue_cert("ann@example.org", common_name="Ann", organization_name="Example, Inc.")


@cache
def expired_certificate() -> trustme.LeafCert:
    return authority().issue_cert("old@example.org", not_after=datetime(2020, 1, 1, tzinfo=UTC))


@cache
def foreign_client_certificate() -> trustme.LeafCert:
    return foreign_authority().issue_cert("eve@example.org")


def identity(verify: ssl.VerifyMode = ssl.CERT_NONE) -> ServerIdentity:
    """A server's, which asks for client certificates as ``verify`` says."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_certificate().configure_cert(context)
    authority().configure_trust(context)
    context.verify_mode = verify
    context.set_alpn_protocols(["http/1.1"])
    return ServerIdentity(context, server_certificate().cert_chain_pems[0].bytes().decode())


def client_context(certificate: trustme.LeafCert | None = None) -> ssl.SSLContext:
    """A client's, which trusts ``authority()`` alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    if certificate is not None:
        certificate.configure_cert(context)
    return context


def files_of(certificate: trustme.LeafCert, directory: Path, name: str = "server") -> tuple[Path, Path]:
    """The certificate with its chain and the key, as files."""
    cert, key = directory / f"{name}.pem", directory / f"{name}.key"
    cert.write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    key.write_bytes(certificate.private_key_pem.bytes())
    return cert, key
