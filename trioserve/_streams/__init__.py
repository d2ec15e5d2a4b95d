"""Bytes in and out: one file per backend, the only ones that import trio or asyncio."""

from trioserve._streams.interface import (
    GATHER_BYTES,
    RECEIVE_BYTES,
    Address,
    ByteStream,
    Cancellable,
    Listener,
    Network,
    Nursery,
)
from trioserve._streams.proxied import ProxiedListener
from trioserve._streams.running import open_network, running_backend
from trioserve._streams.tls import ServerIdentity, TlsFacts, TlsListener, is_tls, tls_facts

__all__ = [
    "GATHER_BYTES", "RECEIVE_BYTES", "Address", "ByteStream", "Cancellable", "Listener", "Network", "Nursery",
    "ProxiedListener", "ServerIdentity", "TlsFacts", "TlsListener", "is_tls", "open_network", "running_backend",
    "tls_facts",
]  # fmt: skip
