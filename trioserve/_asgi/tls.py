"""The TLS extension (ASGI TLS extension 0.2): how a connection is protected, and who the client has proved to be."""

import base64
from collections.abc import Sequence
from typing import Any

from trioserve._asgi.distinguished_name import subject_name

__all__ = ["tls_extension"]


def tls_extension(
    version: int | None, cipher_suite: int | None, server_certificate: str | None, client_chain: Sequence[bytes]
) -> dict[str, Any]:
    """The value of ``scope["extensions"]["tls"]``, the same for all requests of a connection.

    ``client_chain`` is in DER, the client's own certificate first, and has been verified: a client whose certificate
    is not accepted gets no connection, so ``client_cert_error`` never has anything to say.
    """
    return {
        "server_cert": server_certificate,
        "client_cert_chain": tuple([_pem(certificate) for certificate in client_chain]),
        "client_cert_name": subject_name(client_chain[0]) if client_chain else None,
        "client_cert_error": None,
        "tls_version": version,
        "cipher_suite": cipher_suite,
    }


def _pem(certificate: bytes) -> str:
    """RFC 7468 §2."""
    text = base64.b64encode(certificate).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])
