"""Bytes in and out: one file per backend, the only ones that import trio or asyncio."""

from trioserve._streams.interface import (
    AT_ONCE_BYTES,
    GATHER_BYTES,
    RECEIVE_BYTES,
    Address,
    ByteStream,
    Cancellable,
    CancellableNursery,
    FileOutlet,
    Listener,
    Network,
    Nursery,
    SendObserver,
    TaskFunction,
)
from trioserve._streams.proxied import ProxiedListener
from trioserve._streams.running import open_network, running_backend
from trioserve._streams.tls import TlsListener, is_tls, tls_facts
from trioserve._streams.tls_facts import ServerIdentity, TlsFacts

__all__ = [
    "AT_ONCE_BYTES",
    "GATHER_BYTES",
    "RECEIVE_BYTES",
    "Address",
    "ByteStream",
    "Cancellable",
    "CancellableNursery",
    "FileOutlet",
    "Listener",
    "Network",
    "Nursery",
    "ProxiedListener",
    "SendObserver",
    "ServerIdentity",
    "TaskFunction",
    "TlsFacts",
    "TlsListener",
    "is_tls",
    "open_network",
    "running_backend",
    "tls_facts",
]  # fmt: skip
