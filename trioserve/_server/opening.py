"""Bound sockets become listeners, and what stands before HTTP on them is put around."""

from trioserve._config import Config
from trioserve._server.listeners import Bound, listen_on
from trioserve._server.tls import Certificates
from trioserve._streams import Listener, Network, ProxiedListener, TlsListener
from trioserve._trust import TrustedPeers

__all__ = ["listen", "wrap"]


def listen(
    bounds: list[Bound], network: Network, config: Config, certificates: Certificates | None
) -> list[Listener]:
    """Listen on each, as ``wrap`` has it. Raises BindFailed, as ``listen_on`` does."""
    for bound in bounds:
        listen_on(bound, config.backlog)
    return [wrap(network.listen(bound.sock), config, None if bound.plain else certificates) for bound in bounds]


def wrap(listener: Listener, config: Config, certificates: Certificates | None) -> Listener:
    """On each connection a PROXY header comes first, then a TLS handshake, if they are asked for."""
    if config.proxy_protocol:
        listener = ProxiedListener(listener, TrustedPeers(config.forwarded_allow_ips), config.timeout_header)
    if certificates is not None:
        listener = TlsListener(listener, certificates.identity)
    return listener
