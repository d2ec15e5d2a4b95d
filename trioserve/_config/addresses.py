"""What can be listened on, as people write it: ``HOST:PORT``, ``[IPV6]:PORT``, ``unix:PATH``, ``fd://N``."""

import re
from ipaddress import ip_address
from typing import Final, NamedTuple, TypeAlias

__all__ = ["BindSpec", "Descriptor", "HostPort", "UnixPath", "is_loopback", "parse_bind", "shown", "shown_here"]


class HostPort(NamedTuple):
    """All addresses of ``host``, a name or a number; ``""`` and ``"*"`` are all addresses of the machine."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class UnixPath(NamedTuple):
    """A unix socket in the file system."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


class Descriptor(NamedTuple):
    """A listening socket that is open already, inherited from whoever started this process."""

    fd: int

    def __str__(self) -> str:
        return f"fd://{self.fd}"


BindSpec: TypeAlias = HostPort | UnixPath | Descriptor

_HOST_PORT: Final = r"(?:\[(?P<v6>[0-9A-Fa-f:.]*:[^\[\]/]*)\]|(?P<host>[^:\[\]/]*)):(?P<port>[0-9]{1,5})"
_FORMS: Final = "HOST:PORT, [IPV6]:PORT, unix:PATH or fd://N"


def parse_bind(text: str) -> BindSpec:
    """What ``text`` names. Raises ValueError, with one line that says what is wrong with it."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path or "\0" in path:
            raise ValueError(f"{text!r} has no path: write unix:/run/app.sock")
        return UnixPath(path)
    if text.startswith("fd://"):
        number = text.removeprefix("fd://")
        if not re.fullmatch("[0-9]{1,9}", number):
            raise ValueError(f"{text!r} has no number: write fd://3")
        return Descriptor(int(number))
    match = re.fullmatch(_HOST_PORT, text)
    if match is None:
        hint = "; an IPv6 address is written in brackets" if text.count(":") > 1 and "[" not in text else ""
        raise ValueError(f"{text!r} is not of the form {_FORMS}{hint}")
    if int(match["port"]) > 65535:
        raise ValueError(f"{text!r} has a port over 65535")
    return HostPort(match["v6"] or match["host"], int(match["port"]))


def is_loopback(spec: BindSpec) -> bool:
    """Only this machine reaches it. A name could be anything's, but for ``localhost`` (RFC 6761 §6.3)."""
    if not isinstance(spec, HostPort):
        return False
    try:
        return spec.host == "localhost" or ip_address(spec.host).is_loopback
    except ValueError:
        return False


def shown(address: tuple[str, int | None], scheme: str = "http") -> str:
    """A bound address for people: ``http://127.0.0.1:8000``, ``unix:/run/app.sock``."""
    host, port = address
    if port is None:
        return f"unix:{host}".replace("\0", "@")  # an abstract name, which starts with NUL, is written with @
    return f"{scheme}://{HostPort(host, port)}"


def shown_here(address: tuple[str, int | None], scheme: str = "http") -> str:
    """Where a browser on this machine finds a server that listens on all addresses; empty if it does not."""
    host, port = address
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host)
    return shown((local, port), scheme) if local is not None and port is not None else ""
