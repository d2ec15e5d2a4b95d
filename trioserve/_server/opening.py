"""Bound sockets become listeners, and what stands before HTTP on them is put around."""

from trioserve._config import Config
from trioserve._server.listeners import Bound, listen_on
from trioserve._server.tls import Certificates
from trioserve._streams import Listener, Network, ProxiedListener, TlsListener
from trioserve._trust import TrustedPeers

__all__ = ["listen", "wrap"]


def listen(bounds: list[Bound], network: Network, backlog: int) -> list[Listener]:
    """Listen on each. Raises BindFailed, as ``listen_on`` does."""
    for bound in bounds:
        listen_on(bound, backlog)
    return [network.listen(bound.sock) for bound in bounds]


def wrap(listeners: list[Listener], config: Config, certificates: Certificates | None) -> list[Listener]:
    """On each connection a PROXY header comes first, then a TLS handshake, if they are asked for."""
    if config.proxy_protocol:
        trusted = TrustedPeers(config.forwarded_allow_ips)
        listeners = [ProxiedListener(listener, trusted, config.timeout_header) for listener in listeners]
    if certificates is not None:
        listeners = [TlsListener(listener, certificates.identity) for listener in listeners]
    return listeners
