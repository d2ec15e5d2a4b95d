"""The grammar that both engines share: what may stand in a head at all (RFC 9110 §5, RFC 9112 §2, §3)."""

import re
from typing import Final

from trioserve._errors import PeerError

__all__ = ["TEXT", "TOKEN", "check_text", "split_request_line"]

TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 §5.6.2
METHOD: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Z]+")  # methods are case-sensitive, all registered ones upper case

# HTAB, SP, visible characters and obs-text: what a field line may consist of (RFC 9110 §5.5).
TEXT: Final = bytes(code for code in range(256) if code == 0x09 or 0x20 <= code <= 0x7E or code >= 0x80)

_VERSIONS: Final = {b"HTTP/1.1": "1.1", b"HTTP/1.0": "1.0"}
_VERSION: Final = re.compile(rb"HTTP/[0-9]\.[0-9]")


def check_text(head: bytes) -> int:
    """Refuse control characters, bare CR, bare LF and folded lines; return the number of lines.

    ``head`` is whole, with the empty line at its end, which counts as a line. One pass in C deletes what is allowed;
    what is left must be the line ends. RFC 9112 §2.2 (bare CR), §5.2 (obs-fold); a lenient reader of either is how
    one message becomes two.
    """
    leftover = head.translate(None, TEXT)
    lines = len(leftover) >> 1
    if head.count(b"\r\n") != lines or len(leftover) & 1:
        raise PeerError(400, "control character in the request head")
    if b"\r\n " in head or b"\r\n\t" in head:
        raise PeerError(400, "folded or indented field line")
    return lines


def split_request_line(line: bytes) -> tuple[bytes, bytes, str]:
    """``GET /path HTTP/1.1`` as method, target and version (RFC 9112 §3).

    Raises:
        PeerError: 505 for another major version, 400 for everything that is no request line.
    """
    parts = line.split(b" ")
    version = _VERSIONS.get(parts[-1])
    if len(parts) == 3 and version is not None:
        return parts[0], parts[1], version
    if len(parts) == 3 and _VERSION.fullmatch(parts[2]):
        if parts[2][5:6] == b"1":  # a higher minor version is understood as our own (RFC 9110 §2.5)
            return parts[0], parts[1], "1.1"
        raise PeerError(505, "only HTTP/1.1 and HTTP/1.0 are served")
    raise PeerError(400, "malformed request line")
