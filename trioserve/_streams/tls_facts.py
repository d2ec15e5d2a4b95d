"""Whom a client meets in a TLS handshake, and what the handshake settles."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

__all__ = ["ServerIdentity", "TlsFacts"]


@dataclass(slots=True)
class ServerIdentity:
    """Whom the clients of a server's TLS listeners meet. To change it, change all of it; it holds for new connections.

    Attributes:
        context: made for servers; it may choose another one in the handshake.
        certificate: the one that ``context`` presents, in PEM; ``None`` if that is not known.
        others: contexts that may be chosen, with what they present.
    """

    context: ssl.SSLContext
    certificate: str | None
    others: Mapping[ssl.SSLContext, str] = field(default_factory=dict)

    def become(self, fresh: "ServerIdentity") -> None:
        """For the connections to come."""
        self.context, self.certificate, self.others = fresh.context, fresh.certificate, fresh.others


class TlsFacts(NamedTuple):
    """What a handshake has settled.

    Attributes:
        version: as on the wire, 0x0304 for TLS 1.3.
        cipher_suite: its 16 bits in IANA's registry.
        server_certificate: in PEM, ``None`` if it is not known.
        client_chain: what the client has presented, its own certificate first, in DER; it has been verified.
        protocol: what ALPN has agreed on (RFC 7301).
    """

    version: int | None
    cipher_suite: int | None
    server_certificate: str | None
    client_chain: tuple[bytes, ...]
    protocol: str | None

    @classmethod
    def of(cls, session: ssl.SSLObject, server_certificate: str | None) -> "TlsFacts":
        """Of a session whose handshake is over."""
        return cls(
            version=_VERSIONS.get(session.version() or ""),
            cipher_suite=_cipher_suite(session),
            server_certificate=server_certificate,
            client_chain=_client_chain(session),
            protocol=session.selected_alpn_protocol(),
        )


_VERSIONS: Final = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}
_cipher_suites: Final[dict[str, int]] = {}  # by OpenSSL's names, as they are met: a list of all takes a while to make


def _cipher_suite(session: ssl.SSLObject) -> int | None:
    cipher = session.cipher()
    if cipher is None:
        return None
    name = cipher[0]
    if name not in _cipher_suites:
        _cipher_suites.update({known["name"]: known["id"] & 0xFFFF for known in session.context.get_ciphers()})
    return _cipher_suites.get(name)


def _client_chain(session: Any) -> tuple[bytes, ...]:
    """In DER, the client's own certificate first. A resumed session remembers that one only."""
    certificate = session.getpeercert(binary_form=True)
    if certificate is None:
        return ()
    if hasattr(session, "get_unverified_chain"):  # Python 3.13
        chain = session.get_unverified_chain()
    else:
        known = session._sslobj.get_unverified_chain() or ()
        chain = [ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in known]
    return tuple(chain) or (certificate,)
