"""The PROXY protocol, versions 1 and 2: one header before the first byte of a connection tells whose it is.

The specification is HAProxy's ``proxy-protocol.txt``; its sections are cited here as PROXY §2.1 and so on.
"""

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from trioserve._trust import read_ip

__all__ = ["SIGNATURE", "ProxyLine", "read_proxy_line"]

Endpoint: TypeAlias = tuple[str, int | None] | None

V1_BYTES: Final = 107  # the longest line, with its end
SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"  # version 2

_V1: Final = re.compile(
    rb"PROXY (?:UNKNOWN(?: .*)?|TCP(?:(4) ([0-9.]+) ([0-9.]+)|(6) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+))"
    rb" (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4}))"
)
_V2_START: Final = 16  # bytes: signature, version and command, family, length of the rest
_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _TCP4, _TCP6, _UNIX = 0x00, 0x11, 0x21, 0x31
_ADDRESS_BYTES: Final = {_UNSPECIFIED: 0, _TCP4: 4, _TCP6: 16, _UNIX: 108}  # of each of two


@dataclass(frozen=True, slots=True)
class ProxyLine:
    """What a header says.

    Attributes:
        size: bytes of the header; those after it belong to the connection.
        endpoints: client and the address that it connected to, both ``None`` if these are unix sockets; ``None`` when
            the connection is the proxy's own (a health check, say) or the proxy does not know.
    """

    size: int
    endpoints: tuple[Endpoint, Endpoint] | None


def read_proxy_line(data: bytes) -> ProxyLine | None:
    """The header at the start of ``data``; ``None`` while it is not whole.

    Raises:
        ValueError: this is no header, and nothing that could follow would make it one.
    """
    if data.startswith(b"PROXY "):
        return _read_v1(data)
    if data.startswith(SIGNATURE):
        return _read_v2(data)
    if b"PROXY ".startswith(data) or SIGNATURE.startswith(data):
        return None
    raise ValueError("it does not begin with a PROXY header")


def _read_v1(data: bytes) -> ProxyLine | None:
    """A line of text (PROXY §2.1)."""
    end = data.find(b"\r\n", 0, V1_BYTES)
    if end < 0:
        if len(data) >= V1_BYTES:
            raise ValueError("its PROXY line does not end")
        return None
    match = _V1.fullmatch(data, 0, end)
    if match is None:
        raise ValueError("its PROXY line is malformed")
    version = match[1] or match[4]
    if version is None:
        return ProxyLine(end + 2, None)
    source, destination = (match[2], match[3]) if version == b"4" else (match[5], match[6])
    client = _text_address(source, version, match[7])
    return ProxyLine(end + 2, (client, _text_address(destination, version, match[8])))


def _text_address(host: bytes, version: bytes, port: bytes) -> tuple[str, int]:
    try:
        address = read_ip(host.decode("ascii"))
    except ValueError:
        address = None
    if address is None or (b":" in host) != (version == b"6") or int(port) > 65535:
        raise ValueError("its PROXY line has a malformed address")
    return str(address), int(port)


def _read_v2(data: bytes) -> ProxyLine | None:
    """A block of bytes (PROXY §2.2)."""
    if len(data) < _V2_START:
        return None
    command, family = data[12], data[13]
    if command not in (_LOCAL, _PROXY):
        raise ValueError("its PROXY header has another version or command")
    if command == _PROXY and family not in _ADDRESS_BYTES:
        raise ValueError("its PROXY header tells of no stream of a known kind")
    size = _V2_START + int.from_bytes(data[14:16])
    if len(data) < size:
        return None
    if command == _LOCAL:
        return ProxyLine(size, None)
    return ProxyLine(size, _read_block(family, data[_V2_START:size]))


def _read_block(family: int, block: bytes) -> tuple[Endpoint, Endpoint] | None:
    """The addresses; of the extensions that follow it is only checked that they are whole (PROXY §2.2.1)."""
    length = _ADDRESS_BYTES[family]
    ports = 2 * length
    extensions = ports + (4 if family in (_TCP4, _TCP6) else 0)
    if len(block) < extensions:
        raise ValueError("its PROXY header is too short for its addresses")
    if family == _UNSPECIFIED:  # the rest is of no use to us, whatever it is
        return None
    _check_extensions(block[extensions:])
    if family == _UNIX:
        return None, None
    client_port, server_port = block[ports : ports + 2], block[ports + 2 : ports + 4]
    return (
        (str(read_ip(block[:length])), int.from_bytes(client_port)),
        (str(read_ip(block[length:ports])), int.from_bytes(server_port)),
    )


def _check_extensions(rest: bytes) -> None:
    """Each is a type, a length of two bytes, and as many bytes."""
    at = 0
    while at < len(rest):
        at += 3 + int.from_bytes(rest[at + 1 : at + 3])
    if at != len(rest):
        raise ValueError("its PROXY header has extensions that are cut short")
