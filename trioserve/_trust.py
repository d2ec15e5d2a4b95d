"""Who is trusted to speak for others, and in which words: the proxies in front of this server. Pure."""

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeAlias

__all__ = ["FORWARDED", "X_FORWARDED", "IPAddress", "TrustedPeers", "believed_fields", "read_ip"]

IPAddress: TypeAlias = IPv4Address | IPv6Address

FORWARDED: Final = b"forwarded"  # RFC 7239
X_FORWARDED: Final = frozenset(b"x-forwarded-" + what for what in (b"for", b"proto", b"host", b"port", b"prefix"))


def read_ip(written: str | bytes) -> IPAddress:
    """The IP address in a text, or in 4 or 16 bytes. An IPv4 address in the clothes of IPv6 comes without them
    (``::ffff:192.0.2.1``, RFC 4291 §2.5.5.2).

    Raises:
        ValueError: it is no IP address.
    """
    address = ipaddress.ip_address(written)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def believed_fields(text: str) -> frozenset[bytes]:
    """The field names in a comma-separated list: ``forwarded``, or some that begin with ``x-forwarded-``.

    Never both: what a proxy does not set it passes on, and then an attacker has written it.

    Raises:
        ValueError: the list is empty, has an unknown name, or names of both kinds.
    """
    names = frozenset(name.strip().lower().encode() for name in text.split(",") if name.strip())
    known = X_FORWARDED | {FORWARDED}
    if not names:
        raise ValueError("no field is named; to believe none, switch proxy_headers off")
    if not names <= known:
        raise ValueError(f"{min(names - known).decode()!r} is none of {b', '.join(sorted(known)).decode()}")
    if FORWARDED in names and len(names) > 1:
        raise ValueError("forwarded cannot be combined with others: a proxy that sets one kind passes on the other")
    return names


class TrustedPeers:
    """Made from a comma-separated list of IP addresses, networks, ``unix``, paths of unix sockets and ``*``.

    Raises:
        ValueError: an entry is none of these; the text says which.
    """

    def __init__(self, text: str) -> None:
        entries = [entry for item in text.split(",") if (entry := item.strip())]
        self._everybody = "*" in entries
        self._unix = "unix" in entries
        self._unix_paths = frozenset(entry.removeprefix("unix:") for entry in entries if _is_path(entry))
        networks = [_network(entry) for entry in entries if entry not in ("*", "unix") and not _is_path(entry)]
        self._single = frozenset(network.network_address for network in networks if network.num_addresses == 1)
        self._networks = [network for network in networks if network.num_addresses > 1]

    def host(self, host: str) -> bool:
        """The host with this IP address is trusted. Anything but an IP address is not, unless everybody is."""
        if self._everybody:
            return True
        try:
            address = read_ip(host)
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.scope_id is not None:  # fe80::1%eth0
            address = IPv6Address(int(address))
        return address in self._single or any(address in network for network in self._networks)

    def peer(self, peer: tuple[str, int | None] | None, local: tuple[str, int | None] | None) -> bool:
        """The peer of a connection is trusted: by its address, or by the unix socket of ours that it came through."""
        if self._everybody:
            return True
        if peer is not None:
            return self.host(peer[0])
        return local is not None and local[1] is None and (self._unix or local[0] in self._unix_paths)


def _is_path(entry: str) -> bool:
    return entry.startswith(("/", "unix:/"))


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ipaddress.ip_network(text if "/" in text else read_ip(text))
    except ValueError as exc:
        reason = "has host bits set" if "host bits" in str(exc) else "is no IP address, network, unix, path or *"
        raise ValueError(f"{text!r} {reason}") from None
