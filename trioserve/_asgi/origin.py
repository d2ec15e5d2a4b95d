"""What trusted proxies say about a request, put into its scope (ASGI HTTP 2.5, "HTTP Connection Scope")."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, TypeAlias

from trioserve._protocol.forwarded import REMEMBERED, Origin, read_forwarded, read_x_forwarded, split_host
from trioserve._trust import FORWARDED, TrustedPeers
from trioserve._types import Fields

__all__ = ["ProxyHeaders", "apply_origin", "host_of"]

Endpoint: TypeAlias = tuple[str, int | None] | None

_SECURE: Final = {"http": {"http": "http", "https": "https"}, "websocket": {"http": "ws", "https": "wss"}}
_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class ProxyHeaders:
    """Whom to believe, and which fields; one per server."""

    def __init__(self, trusted: TrustedPeers, believed: frozenset[bytes]) -> None:
        self._trusted = trusted
        self._trusts = lru_cache(maxsize=REMEMBERED)(trusted.host)
        self._believed = believed

    def reader(self, peer: Endpoint, local: Endpoint) -> Callable[[Fields], Origin] | None:
        """What reads the origin of requests from ``peer``; ``None`` if it is not trusted."""
        if not self._trusted.peer(peer, local):
            return None
        trusts = self._trusts
        if FORWARDED in self._believed:
            return lambda fields: read_forwarded(fields, trusts, peer)
        return lambda fields: read_x_forwarded(fields, self._believed, trusts, peer)


def apply_origin(origin: Origin, scope: dict[str, Any]) -> None:
    """Change a fresh scope, but for ``root_path`` and the paths, which are made with the right prefix."""
    scope["client"] = origin.client
    if origin.scheme is not None:
        scope["scheme"] = _SECURE[scope["type"]][origin.scheme]
    if origin.host is None and origin.port is None:
        return
    default_port = _DEFAULT_PORTS[scope["scheme"]]
    host = origin.host or host_of(scope["headers"])
    port = origin.port or default_port
    if host is not None:
        field = host if port == default_port else f"{host}:{port}"
        others = (line for line in scope["headers"] if line[0] != b"host")
        scope["headers"] = [(b"host", field.encode("latin-1")), *others]
        scope["server"] = host.strip("[]"), port
    elif scope["server"] is not None:
        scope["server"] = scope["server"][0], port


def host_of(fields: Fields) -> str | None:
    """The host in the Host field, without port; ``None`` without one."""
    return split_host(next((value for name, value in fields if name == b"host"), b"").decode("latin-1"))[0]
