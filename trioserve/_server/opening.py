"""What a server listens on, from the sockets to the end, and what stands before HTTP there."""

import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from socket import socket
from typing import TYPE_CHECKING

from trioserve._config import Config
from trioserve._server.listeners import Bound, bind, give_up_ports, listen_on, own, refuse_new, remove_files
from trioserve._server.tls import load_certificates
from trioserve._streams import Listener, Network, TlsListener
from trioserve._trust import TrustedPeers

if TYPE_CHECKING:
    from trioserve._server.certificates import Certificates

__all__ = ["Listeners"]


class Listeners:
    """The listeners of one run: sockets are bound, then opened when the application has started, then closed.

    Iterating over it gives those that are open.

    Args:
        sockets: see ``Server``.
        get_sockets: see ``Server``.
        ready: listeners that take the place of all sockets.
        ssl_context: takes the place of the certificates in ``config``.

    Attributes:
        certificates: what is presented, once it has been loaded; ``None`` for a server without TLS.
    """

    def __init__(
        self, config: Config, *, sockets: Sequence[socket | Bound] | None, ready: Sequence[Listener] | None,
        get_sockets: Callable[[], Awaitable[Sequence[socket | Bound]]] | None, ssl_context: ssl.SSLContext | None,
    ) -> None:  # fmt: skip
        self._config = config
        self._sockets = sockets
        self._get_sockets = get_sockets
        self._ready = ready
        self._ssl_context = ssl_context
        self._bounds: list[Bound] = []
        self._open: list[Listener] = []
        self.certificates: Certificates | None = None

    def __iter__(self) -> Iterator[Listener]:
        return iter(self._open)

    @property
    def are_shared(self) -> bool:
        """Other processes accept on the same sockets."""
        return self._get_sockets is not None

    async def bind(self) -> None:
        """Load the certificates, and bind what can be bound before the application has started.

        Raises:
            ConfigError: the certificates cannot be used.
            BindFailed: an address cannot be had.
        """
        self.certificates = load_certificates(self._config, self._ssl_context)
        if self._ready is None and self._get_sockets is None:
            self._bounds = await bind(self._config, self._sockets)

    async def open(self, network: Network) -> None:
        """Listen. Raises BindFailed, as ``listen_on`` does."""
        if self._get_sockets is not None and (sockets := await self._get_sockets()):
            self._bounds = own(sockets)
        if self._ready is not None:
            self._open = [self._wrap(listener, self.certificates) for listener in self._ready]
            return
        for bound in self._bounds:
            listen_on(bound, self._config.backlog)
        self._open = [
            self._wrap(network.listen(bound.sock), None if bound.plain else self.certificates)
            for bound in self._bounds
        ]

    def refuse_new(self) -> None:
        """Nobody new gets into the backlogs, so that they can be emptied for good."""
        refuse_new(self._bounds)

    def close(self) -> None:
        """Close everything, and remove our unix sockets from the file system. Once is enough, twice is no mistake."""
        bounds, self._bounds = self._bounds, []  # a file that appears later in the place of ours is not ours
        remove_files(bounds)
        give_up_ports(bounds)
        for listener in self._open:
            listener.close()
        for bound in bounds:  # those that no listener was made of
            bound.sock.close()

    def _wrap(self, listener: Listener, certificates: "Certificates | None") -> Listener:
        """On each connection a PROXY header comes first, then a TLS handshake, if they are asked for."""
        config = self._config
        if config.proxy_protocol:
            from trioserve._streams.proxied import ProxiedListener  # somebody asks; nobody else pays for it

            listener = ProxiedListener(listener, TrustedPeers(config.forwarded_allow_ips), config.timeout_header)
        if certificates is not None:
            listener = TlsListener(listener, certificates.identity)
        return listener
