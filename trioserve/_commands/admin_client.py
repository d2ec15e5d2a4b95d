"""Asks the admin listener of a running server. Plain blocking calls: a command has nothing else to do meanwhile."""

import http.client
import json
import socket
import sys
from typing import Any, Final
from urllib.parse import urlencode

from trioserve._config.addresses import Descriptor, HostPort, UnixPath, parse_bind

__all__ = ["AdminClient", "AdminUnreachable"]

TIMEOUT_SECONDS: Final = 10.0
HERE: Final = ("", "*", "0.0.0.0", "::")  # all addresses of the machine: this machine is one of them


class AdminUnreachable(Exception):
    """Nobody answers there, or somebody who is no admin listener; the text says what to do."""


class _UnixConnection(http.client.HTTPConnection):
    """Over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        if sys.platform == "win32":
            raise OSError("this system has no unix sockets")
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_SECONDS)
        self.sock.connect(self._path)


class AdminClient:
    """Of the server at ``address``: ``HOST:PORT``, ``unix:PATH``, or the URL that the server's start line shows.

    Raises:
        ValueError: the address is neither.
    """

    def __init__(self, address: str) -> None:
        self._address = address.removeprefix("http://").partition("#")[0].rstrip("/")
        self._spec = parse_bind(self._address)
        if isinstance(self._spec, Descriptor):
            raise ValueError(f"{address!r} is a descriptor of the server's: write HOST:PORT or unix:PATH")

    def tree(self, **view: Any) -> dict[str, Any]:
        """One snapshot; ``view`` are the parameters of ``/tree``. Raises AdminUnreachable."""
        connection = self._connect()
        try:
            connection.request("GET", "/tree?" + urlencode(view))
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as exc:
            raise AdminUnreachable(
                f"no admin listener answers at {self._address}: {getattr(exc, 'strerror', None) or exc}; "
                "start the server with --admin, and give the same address") from exc
        finally:
            connection.close()
        if answer.status != 200:
            raise AdminUnreachable(f"{self._address} answers {answer.status}: {body[:200].decode('utf-8', 'replace')}")
        return _snapshot(body, self._address)

    def _connect(self) -> http.client.HTTPConnection:
        if isinstance(self._spec, UnixPath):
            return _UnixConnection(self._spec.path)
        assert isinstance(self._spec, HostPort)
        host = "127.0.0.1" if self._spec.host in HERE else self._spec.host
        return http.client.HTTPConnection(host, self._spec.port, timeout=TIMEOUT_SECONDS)


def _snapshot(body: bytes, address: str) -> dict[str, Any]:
    try:
        snapshot = json.loads(body)
    except ValueError:
        snapshot = None
    if not isinstance(snapshot, dict) or snapshot.get("schema") != 1:
        raise AdminUnreachable(f"what answers at {address} is no admin listener of this version")
    return snapshot
