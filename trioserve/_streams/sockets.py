"""Facts about socket addresses, the same on every backend."""

from typing import Any

from trioserve._streams.interface import Address

__all__ = ["address_of", "is_wildcard"]


def address_of(sockname: Any) -> Address:
    """``getsockname()`` as ASGI wants it: IPv6 cut to two, a unix path with ``None`` (ASGI HTTP scope, ``server``)."""
    if isinstance(sockname, tuple):
        return sockname[0], sockname[1]
    return (sockname.decode("utf-8", "surrogateescape") if isinstance(sockname, bytes) else sockname), None


def is_wildcard(address: Address) -> bool:
    """Connections to this listener may have another local address than the listener's own."""
    return address[0] in ("0.0.0.0", "::")
