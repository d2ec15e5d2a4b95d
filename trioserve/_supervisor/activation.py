"""Socket activation: systemd opens the listening sockets and starts the server with them (sd_listen_fds(3))."""

import logging
import os
import socket
from typing import Final

from trioserve._config import Config
from trioserve._config.addresses import Descriptor
from trioserve._errors import BindFailed
from trioserve._server.listeners import inherited_socket

__all__ = ["activated_sockets"]

FIRST_FD: Final = 3
_VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")

log = logging.getLogger("trioserve")


def activated_sockets(config: Config) -> list[socket.socket] | None:
    """The listening sockets that were opened for this process; ``None`` without any.

    They take the place of ``host`` and ``port``; those that ``insecure_bind`` names by number are left to it. Where
    ``bind``, ``uds`` or ``fd`` say what to listen on, that counts. The variables are removed: they are not meant for
    the processes that this one starts.

    Raises:
        BindFailed: one of the descriptors is no listening stream socket.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    _, count, _ = (os.environ.pop(name, "") for name in _VARIABLES)
    if not (count.isascii() and count.isdigit()):
        raise BindFailed(f"cannot listen on the sockets of systemd: LISTEN_FDS is {count!r}, not a number")
    if not config.binds_by_default:
        log.warning("The sockets of systemd are not used (LISTEN_FDS=%s): the options say where to listen", count)
        return None
    sockets: list[socket.socket] = []
    try:
        for fd in range(FIRST_FD, FIRST_FD + int(count)):
            if Descriptor(fd) not in config.insecure_bind_specs:
                sockets.append(inherited_socket(fd))
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets or None
