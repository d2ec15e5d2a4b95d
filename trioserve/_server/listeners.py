"""Addresses become listening sockets."""

import errno
import os
import socket
from collections.abc import Iterable
from typing import Any, Final

import anyio

from trioserve._errors import BindFailed

__all__ = ["bind_sockets", "listen_on"]

_NOT_HERE: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


async def bind_sockets(host: str, port: int) -> list[socket.socket]:
    """One bound socket for each address of ``host``, all on one port; ``listen`` has not been called.

    Addresses that this machine does not have are passed over as long as one remains.

    Raises:
        BindFailed: the name is unknown, or an address is in use or not permitted.
    """
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    addresses = await _resolve(host, port)
    try:
        for family, address in addresses:
            if port == 0 and sockets:
                address = (address[0], sockets[0].getsockname()[1], *address[2:])
            try:
                sockets.append(_bind(family, address, only_v6=len(addresses) > 1))
            except OSError as exc:
                if exc.errno not in _NOT_HERE:
                    raise
                missing = exc
        if not sockets and missing is not None:
            raise missing
    except OSError as exc:
        for sock in sockets:
            sock.close()
        raise BindFailed(_explain(host, port, exc)) from exc
    return sockets


async def _resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, Any]]:
    found: Iterable[Any]
    try:
        try:
            found = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICHOST
            )
        except socket.gaierror:  # a name: the look-up may wait for the network
            found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as exc:
        raise BindFailed(f"cannot listen on {host!r}: {exc}") from exc
    return list(dict.fromkeys((socket.AddressFamily(info[0]), info[4]) for info in found))


def _bind(family: socket.AddressFamily, address: Any, *, only_v6: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere the option lets two servers share a port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(only_v6))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it on Linux
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


def listen_on(sock: socket.socket, backlog: int) -> None:
    """``listen(2)``. Raises BindFailed when another server was faster: until one listens, two may bind one port."""
    try:
        sock.listen(backlog)
    except OSError as exc:
        host, port = sock.getsockname()[:2]
        raise BindFailed(_explain(host, port, exc)) from exc


def _explain(host: str, port: int, exc: OSError) -> str:
    where = f"{host}:{port}"
    if exc.errno == errno.EADDRINUSE:
        return f"cannot listen on {where}: the port is in use; stop the other server, or choose another --port"
    if exc.errno == errno.EACCES:
        return f"cannot listen on {where}: not permitted; ports below 1024 need privileges, choose a higher --port"
    if exc.errno in _NOT_HERE:
        return f"cannot listen on {where}: this machine has no such address; choose another --host"
    return f"cannot listen on {where}: {exc.strerror or exc}"
