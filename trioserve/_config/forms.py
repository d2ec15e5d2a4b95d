"""The forms of options whose texts are more than texts: each function reads one, and its ValueError says what is wrong.

A function that returns a text gives the one that counts. What others return is of no use here: whoever needs it reads
the text again.
"""

import re
from collections.abc import Callable
from typing import Any, Final

from trioserve._config.addresses import BindSpec, HostPort, parse_bind
from trioserve._config.values import nearest
from trioserve._errors import ConfigError
from trioserve._host_names import HostNames, parse_named_certificate
from trioserve._points import seed_or_point
from trioserve._root_path import read_prefix
from trioserve._trust import TrustedPeers, believed_fields

__all__ = [
    "admin_path", "each_once", "event_loop", "field_line", "field_name", "host", "octal", "parse_bind",
    "parse_named_certificate", "read_prefix", "seed_or_point", "server_name", "socket_path", "trusted_fields",
    "trusted_peers",
]

LOOPS: Final = ("auto", "asyncio", "uvloop")

_HOST_WITH_PORT: Final = r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:]+)):(?P<port>[0-9]+)"
_FIELD_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110 §5.1
_FIELD_LINE: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*"  # RFC 9110 §5.1, §5.5
_OCTAL: Final = r"(?:0o?)?[0-7]{1,3}"
_OF_EACH_RESPONSE: Final = frozenset(("connection", "content-length", "date", "transfer-encoding"))

trusted_peers: Final[Callable[[str], Any]] = TrustedPeers
trusted_fields: Final[Callable[[str], Any]] = believed_fields


def octal(example: str) -> Callable[[str], None]:
    """The form of an octal number; ``example`` is for who gave another one."""

    def check(text: str) -> None:
        if not re.fullmatch(_OCTAL, text):
            raise ValueError(f"{text!r} is no octal number such as {example}")

    return check


def socket_path(text: str) -> None:
    if not text or "\0" in text:
        raise ValueError(f"{text!r} is no path")


def host(text: str) -> None:
    if match := re.fullmatch(_HOST_WITH_PORT, text):
        raise ValueError(f"{text!r} has a port in it: use --host {match['v6'] or match['host']} --port {match['port']}")


def server_name(text: str) -> None:
    HostNames((text,))


def field_name(text: str) -> None:
    if not re.fullmatch(_FIELD_NAME, text):
        raise ValueError(f"{text!r} is no name of a header field")


def field_line(text: str) -> None:
    if not re.fullmatch(_FIELD_LINE, text):
        raise ValueError(f"{text!r} is not of the form Name:Value")
    if (name := text.partition(":")[0]).lower() in _OF_EACH_RESPONSE:
        raise ValueError(f"{name} is different for each response, so the server writes it")


def event_loop(text: str) -> None:
    if text not in LOOPS and ":" not in text:
        raise ValueError(f"{text!r} is none of {', '.join(LOOPS)}, and no function, MODULE:FUNCTION"
                         f"{nearest(text, LOOPS)}")


def admin_path(text: str) -> str:
    path = read_prefix(text)
    if not path:
        raise ValueError(f"{text!r} leaves nothing to the application")
    return path


def each_once(name: str, specs: list[BindSpec], seen: list[BindSpec]) -> list[BindSpec]:
    """``seen`` and ``specs``, which have no address in common; port 0 is another one each time."""
    for spec in specs:
        if spec in seen and not (isinstance(spec, HostPort) and spec.port == 0):
            raise ConfigError(name, f"'{spec}' is there twice")
        seen = [*seen, spec]
    return seen
