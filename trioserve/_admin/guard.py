"""Who may ask the admin listener: nobody from another site's page, and to change something nobody without the token.

A page of another site can make a browser send requests to 127.0.0.1, and can have its own name resolve to it (DNS
rebinding). The first kind shows in ``Origin`` and ``Sec-Fetch-Site``, the second in ``Host``.
"""

import secrets
from collections.abc import Collection
from ipaddress import ip_address
from typing import Final

from trioserve._types import Scope

__all__ = ["has_token", "new_token", "why_refused"]

_BEARER: Final = b"bearer "


def new_token() -> str:
    """A secret for one run."""
    return secrets.token_urlsafe(24)


def has_token(scope: Scope, token: str) -> bool:
    """The request proves that who sends it has read the start line (RFC 6750 §2.1)."""
    given = _field(scope, b"authorization")
    return given[:len(_BEARER)].lower() == _BEARER and secrets.compare_digest(given[len(_BEARER):], token.encode())


def why_refused(scope: Scope, names: Collection[str]) -> str:
    """Why a request is not answered, in one line; empty if it is. ``names``: hosts to ask for, in lower case.

    On a unix socket the host is anybody's choice, and no browser gets there by a name.
    """
    server = scope["server"]
    is_unix = server is not None and server[1] is None
    host = _field(scope, b"host").decode("latin-1").lower()
    if not is_unix and not _is_allowed(host, names):
        return f"the host {host[:100]!r} is not known here: use an IP address or localhost, or --admin-host"
    origin = _field(scope, b"origin").decode("latin-1").lower()
    if origin and origin != f"{scope['scheme']}://{host}":
        return "the request comes from a page of another site"
    site, mode = _field(scope, b"sec-fetch-site"), _field(scope, b"sec-fetch-mode")
    if site not in (b"", b"same-origin", b"none") and mode != b"navigate":
        return "the request comes from a page of another site"
    return ""


def _is_allowed(host: str, names: Collection[str]) -> bool:
    """An address in numbers cannot be another site's name."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name == "localhost" or name in names:
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _field(scope: Scope, name: bytes) -> bytes:
    """The value of a field, empty when it is not there; of several, all of them, which no rule here accepts."""
    return b", ".join(bytes(value) for key, value in scope["headers"] if key == name)
