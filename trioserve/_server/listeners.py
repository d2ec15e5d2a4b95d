"""Addresses become listening sockets. Knows nothing of serving: who binds may pass the sockets on to others."""

import array
import contextlib
import errno
import os
import socket
import stat
import struct
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import anyio

from trioserve._config import Config
from trioserve._config.addresses import BindSpec, Descriptor, HostPort, UnixPath
from trioserve._errors import BindFailed
from trioserve._streams import hang_up

__all__ = [
    "Bound", "bind", "give_up_ports", "inherited_socket", "listen_on", "own", "refuse_new", "release", "remove_files",
]  # fmt: skip

_SO_ATTACH_FILTER: Final = 26  # Linux, <asm-generic/socket.h>
_DROP: Final = struct.pack("=HBBI", 0x06, 0, 0, 0)  # socket(7), a filter of one instruction: keep no byte of a packet
_NOT_HERE: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class SocketFile(NamedTuple):
    """Tells our socket file from another one that has taken its place. While ours is open, no inode is used again."""

    path: str
    device: int
    inode: int


class Bound(NamedTuple):
    """A bound socket and what it was asked for.

    Attributes:
        spec: ``None`` for a socket that somebody else has bound.
        file: of a unix socket that we have made, and therefore remove.
        plain: served without TLS, even if there are certificates.
    """

    sock: socket.socket
    spec: BindSpec | None = None
    file: SocketFile | None = None
    plain: bool = False


async def bind(config: Config, given: Sequence[socket.socket | Bound] | None = None) -> list[Bound]:
    """A bound socket for each address of ``config``; ``listen`` has not been called.

    ``given``, sockets that somebody else has bound, take the place of ``config.bind_specs``. Those of
    ``config.insecure_bind_specs`` come last, and are plain. The caller owns them all: see ``release``.

    Raises:
        BindFailed: one of them cannot be had; then none is left open, and no file behind.
    """
    bound = own(given) if given is not None else []
    try:
        if given is None:
            for spec in config.bind_specs:
                bound += await _bind_spec(spec, config)
        for spec in config.insecure_bind_specs:
            bound += [each._replace(plain=True) for each in await _bind_spec(spec, config)]
    except BaseException:
        release(bound)
        raise
    return bound


async def _bind_spec(spec: BindSpec, config: Config) -> list[Bound]:
    if isinstance(spec, HostPort):
        return await _bind_host(spec)
    if isinstance(spec, UnixPath):
        return [_bind_path(spec, int(config.uds_permissions, 8))]
    return [Bound(inherited_socket(spec.fd), spec)]


def own(sockets: Sequence[socket.socket | Bound]) -> list[Bound]:
    """Sockets that somebody else has bound, and that are ours to close.

    Raises:
        BindFailed: there is none, or one of them cannot be listened on; all are closed.
    """
    bound = [sock if isinstance(sock, Bound) else Bound(sock) for sock in sockets]
    try:
        if not bound:
            raise BindFailed("cannot listen: the list of sockets is empty")
        for each in bound:
            _check_kind(each.sock, f"socket {each.sock.fileno()}")
    except BaseException:
        release(bound)
        raise
    return bound


def listen_on(bound: Bound, backlog: int) -> None:
    """``listen(2)``, unless the socket listens already, with the backlog that its maker chose.

    Raises:
        BindFailed: another server was faster. Until one listens, two may bind one port, and take each other's unix
            sockets for stale.
    """
    if _listens(bound.sock):
        return
    try:
        bound.sock.listen(backlog)
    except OSError as exc:
        raise _failure(bound.spec or bound.sock.getsockname(), exc) from exc
    if bound.file is not None and not _is_there(bound.file):
        raise BindFailed(f"cannot listen on {bound.spec}: another server has taken the socket")


def remove_files(bounds: Iterable[Bound]) -> None:
    """Remove the unix sockets that we have made, where they are still ours; to be called before they are closed."""
    for bound in bounds:
        if bound.file is not None and _is_there(bound.file):
            with contextlib.suppress(OSError):  # somebody was faster, or we may not any more
                os.unlink(bound.file.path)


def refuse_new(bounds: Iterable[Bound]) -> None:
    """Nobody new gets into the backlogs from here on, so that they can be emptied for good; to be called before that.

    A connection made between the last ``accept`` and ``close`` would be reset by the kernel, perhaps with a request
    in it. Unix sockets lose their files. On Linux the kernel stops to answer attempts to connect over TCP; whoever
    tries in that moment tries again a second later, and is then refused by what comes after the listening socket.
    Only sockets of our own: the filter would hold for every process that shares the socket.
    """
    remove_files(bounds)
    if sys.platform != "linux":
        return
    code = array.array("B", _DROP)
    program = struct.pack("@HP", 1, code.buffer_info()[0])
    for bound in bounds:
        if isinstance(bound.spec, HostPort):
            with contextlib.suppress(OSError):  # not permitted here: a race of microseconds is all that is left
                bound.sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def give_up_ports(bounds: Iterable[Bound]) -> None:
    """A port that is ours alone shall be free, although a forked child has the socket, too; to be called last."""
    for bound in bounds:
        if isinstance(bound.spec, HostPort):
            hang_up(bound.sock)


def release(bounds: Sequence[Bound]) -> None:
    """Close the sockets and remove what they have left in the file system."""
    remove_files(bounds)
    for bound in bounds:
        bound.sock.close()


def _is_there(file: SocketFile) -> bool:
    try:
        return _identify(file.path) == file
    except OSError:
        return False


def _identify(path: str) -> SocketFile:
    found = os.lstat(path)
    return SocketFile(path, found.st_dev, found.st_ino)


# Host and port.


async def _bind_host(spec: HostPort) -> list[Bound]:
    """One socket for each address of the host, all on one port.

    Addresses that this machine does not have are passed over as long as one remains.
    """
    bound: list[Bound] = []
    missing: OSError | None = None
    try:
        for family, address in await _resolve(spec):
            if spec.port == 0 and bound:
                address = (address[0], bound[0].sock.getsockname()[1], *address[2:])
            try:
                bound.append(Bound(_bind_address(family, address), spec))
            except OSError as exc:
                if exc.errno not in _NOT_HERE:
                    raise
                missing = exc
        if not bound and missing is not None:
            raise missing
    except OSError as exc:
        release(bound)
        raise _failure(spec, exc) from exc
    return bound


async def _resolve(spec: HostPort) -> list[tuple[socket.AddressFamily, Any]]:
    found: Iterable[Any]
    host = None if spec.host in ("", "*") else spec.host
    try:
        try:
            found = socket.getaddrinfo(
                host, spec.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICHOST
            )
        except socket.gaierror:  # a name: the look-up may wait for the network
            found = await anyio.getaddrinfo(host, spec.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as exc:
        why = f"no address is known for this name ({getattr(exc, 'strerror', None) or exc})"
        raise BindFailed(f"cannot listen on {spec.host!r}: {why}; correct it, or use an address") from exc
    return list(dict.fromkeys((socket.AddressFamily(info[0]), info[4]) for info in found))


def _bind_address(family: socket.AddressFamily, address: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere the option lets two servers share a port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # one socket for each family: the same everywhere, whatever else is bound
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it on Linux
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


# Unix sockets.


def _bind_path(spec: UnixPath, mode: int) -> Bound:
    """A new socket file, in the place of one that nobody listens on."""
    sock = _unix_socket(spec)
    try:
        _remove_stale(spec)
        sock.bind(spec.path)
        bound = Bound(sock, spec, _identify(os.path.abspath(spec.path)))
        os.chmod(spec.path, mode)  # nobody can connect before listen()
    except BaseException as exc:
        sock.close()
        if isinstance(exc, OSError):
            raise _failure(spec, exc) from exc
        raise
    return bound


def _unix_socket(spec: UnixPath) -> socket.socket:
    if sys.platform == "win32" or not hasattr(socket, "AF_UNIX"):
        raise BindFailed(f"cannot listen on {spec}: this system has no unix sockets")
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)


def _remove_stale(spec: UnixPath) -> None:
    """Make room for a new socket file if the old one was left behind; leave everything else alone."""
    try:
        if not stat.S_ISSOCK(os.lstat(spec.path).st_mode):
            raise BindFailed(f"cannot listen on {spec}: the file is no socket; remove it, or choose another path")
    except FileNotFoundError:
        return
    with _unix_socket(spec) as probe:
        probe.setblocking(False)
        try:
            probe.connect(spec.path)
        except ConnectionRefusedError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(spec.path)
        except FileNotFoundError:
            pass  # removed by its owner meanwhile
        except BlockingIOError:
            raise OSError(errno.EADDRINUSE, "its backlog is full") from None
        else:
            raise OSError(errno.EADDRINUSE, "somebody answers")


# Inherited sockets.


def inherited_socket(fd: int) -> socket.socket:
    """The listening socket that is open as ``fd``, which now belongs to the caller.

    Raises:
        BindFailed: there is none; whatever else is open there stays open.
    """
    where = Descriptor(fd)
    try:
        os.fstat(fd)  # socket() would cut a number that is too large
        sock = socket.socket(fileno=fd)
    except (OSError, OverflowError) as exc:
        no_socket = isinstance(exc, OSError) and exc.errno == errno.ENOTSOCK
        raise BindFailed(f"cannot listen on {where}: it is {'no socket' if no_socket else 'not open'}") from exc
    try:
        _check_kind(sock, str(where))
        if not _listens(sock):
            raise BindFailed(f"cannot listen on {where}: the socket does not listen")
    except BaseException:
        sock.detach()
        raise
    sock.set_inheritable(False)  # it was for us, not for the programs that the application may start
    return sock


def _check_kind(sock: socket.socket, name: str) -> None:
    """Only streams are served; TCP ones answer without delay."""
    if sock.fileno() < 0:
        raise BindFailed(f"cannot listen on {name}: it is closed")
    if sock.type != socket.SOCK_STREAM:
        raise BindFailed(f"cannot listen on {name}: it is no stream socket")
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _listens(sock: socket.socket) -> bool:
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


# What is said when it cannot be done.


def _failure(where: Any, exc: OSError) -> BindFailed:
    if isinstance(where, UnixPath):
        return BindFailed(f"cannot listen on {where}: {_unix_problem(exc)}")
    if isinstance(where, HostPort):
        return BindFailed(f"cannot listen on {where}: {_host_problem(exc)}")
    return BindFailed(f"cannot listen on the socket of {where}: {exc.strerror or exc}")


def _host_problem(exc: OSError) -> str:
    if exc.errno == errno.EADDRINUSE:
        return "the port is in use; stop the other server, or choose another port"
    if exc.errno == errno.EACCES:
        return "not permitted; ports below 1024 need privileges, choose a higher one"
    if exc.errno in _NOT_HERE:
        return "this machine has no such address; choose another one"
    return exc.strerror or str(exc)


def _unix_problem(exc: OSError) -> str:
    if exc.errno == errno.EADDRINUSE:
        return "another server listens there; stop it, or choose another path"
    if exc.errno in (errno.EACCES, errno.EPERM):
        return "not permitted; the directory must be writable, and an old socket readable, for the user of the server"
    if exc.errno in (errno.ENOENT, errno.ENOTDIR):
        return "there is no such directory"
    if exc.errno is None:  # Python's own check, before it asks the system
        return "the path is too long for a socket, which has about 100 bytes; choose a shorter one"
    return exc.strerror or str(exc)
