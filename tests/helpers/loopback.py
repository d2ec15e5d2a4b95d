"""The whole server on loopback, over every kind of socket stream."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from tests.helpers.certificates import client_context, identity
from tests.helpers.stream_pairs import KINDS, Kind, Peer, TlsPeer, connect_to, skip_if_missing
from trioserve._types import App
from trioserve.testing import BackgroundServer, serve_background
from trioserve.testing.virtual_time import Backend

__all__ = ["SOCKET_KINDS", "Loopback", "fixtures_over", "receive_all", "receive_exactly", "serving_on_loopback"]

SOCKET_KINDS: Final = [kind for kind in KINDS if kind.network is not None]


def fixtures_over(kinds: Sequence[Kind]) -> tuple[Any, Any]:
    """The fixtures ``kind`` and ``anyio_backend`` of a module whose tests run over each of ``kinds``."""

    @pytest.fixture(params=kinds, ids=str)
    def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Kind:
        kind: Kind = request.param
        skip_if_missing(kind)
        monkeypatch.setattr("trioserve._server.server.open_network", kind.network)
        return kind

    @pytest.fixture
    def anyio_backend(kind: Kind) -> str | Backend:
        return kind.backend()

    return kind, anyio_backend


class Loopback:
    """A server on loopback: makes connections to it, and can be stopped."""

    def __init__(self, kind: Kind, server: BackgroundServer) -> None:
        self.kind = kind
        self.address = server.addresses[0]
        self.stop = server.request_shutdown
        self.peers: list[Peer] = []

    def connect(self) -> Peer:
        peer = connect_to(self.address)
        self.peers.append(TlsPeer(peer, client_context()) if self.kind.tls else peer)
        return self.peers[-1]


@asynccontextmanager
async def serving_on_loopback(kind: Kind, app: App, **options: Any) -> AsyncIterator[Loopback]:
    """Serve ``app``; the peers that the block has connected are closed at its end."""
    quiet = {"port": 0, "access_log": False, "date_header": False, "server_header": False, "lifespan": "off"}
    ssl_context = identity().context if kind.tls else None
    async with serve_background(app, ssl_context=ssl_context, **quiet | options) as server:
        site = Loopback(kind, server)
        try:
            yield site
        finally:
            for peer in site.peers:
                peer.close()


async def receive_exactly(peer: Peer, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        data = await peer.receive(count - len(received))
        assert data, received
        received += data
    return bytes(received)


async def receive_all(peer: Peer) -> bytes:
    """All that comes until the end, whichever it is."""
    received = bytearray()
    try:
        while data := await peer.receive():
            received += data
    except ConnectionError:
        pass
    return bytes(received)
