"""Names of hosts, patterns for them, and the certificates that belong to them.

``example.com`` is one host, ``*.example.com`` is all that are below it.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

__all__ = ["HostNames", "NamedCertificate", "parse_named_certificate"]

_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_NAME: Final = rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*"


class HostNames:
    """Some hosts: ``host in names``. Case and a dot at the end make no difference (RFC 9110 §4.2.3, RFC 1034 §3.1)."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Each text is a name, an IP address, or a name after ``*.``. Raises ValueError for anything else."""
        hosts = [_read(text) for text in texts]
        self._exact = frozenset(host for host in hosts if not host.startswith("*."))
        self._endings = tuple(host.removeprefix("*") for host in hosts if host.startswith("*."))

    def __contains__(self, host: str) -> bool:
        """``host`` is without port; an IPv6 address may have its brackets."""
        host = host.strip("[]").removesuffix(".").lower()
        return host in self._exact or host.endswith(self._endings)


def _read(text: str) -> str:
    """The name as it is compared."""
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        if not re.fullmatch(_NAME, text.removesuffix("."), re.IGNORECASE):
            raise ValueError(f"{text!r} is no name of a host, such as example.com or *.example.com") from None
    return text.removesuffix(".").lower()


class NamedCertificate(NamedTuple):
    """What a client gets to see that asks for one of ``hosts``.

    Attributes:
        keyfile: of the private key; ``None`` when that is in ``certfile``, too.
    """

    hosts: HostNames
    certfile: str
    keyfile: str | None


def parse_named_certificate(text: str) -> NamedCertificate:
    """``HOST=CERTFILE`` or ``HOST=CERTFILE,KEYFILE``. Raises ValueError."""
    host, equals, files = text.partition("=")
    certfile, comma, keyfile = files.partition(",")
    if not equals or not certfile or (comma and not keyfile):
        raise ValueError(f"{text!r} is not of the form HOST=CERTFILE or HOST=CERTFILE,KEYFILE")
    return NamedCertificate(HostNames([host]), certfile, keyfile or None)
