"""The grammar of a request head that does not depend on the engine (RFC 9110 §5, RFC 9112 §2, §3)."""

import re
from typing import Final

from trioserve._errors import PeerError
from trioserve._types import Fields

__all__ = [
    "FIELD_VALUE", "HOST", "LINE_BEGINNING", "ORIGIN_FORM_LINE", "TEXT", "TOKEN", "check_text", "name_method",
    "read_fields", "read_unusual_line",
]  # fmt: skip

TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 §5.6.2

# HTAB, SP, visible characters and obs-text: what a field line may consist of (RFC 9110 §5.5).
TEXT: Final = bytes(code for code in range(256) if code == 0x09 or 0x20 <= code <= 0x7E or code >= 0x80)
FIELD_VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")

# uri-host [ ":" port ], empty for a target without authority (RFC 9110 §7.2, RFC 3986 §3.2.2).
HOST: Final = re.compile(
    rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=]*(?:%[0-9A-Fa-f]{2}[A-Za-z0-9\-._~!$&'()*+,;=]*)*"
    rb"|\[[0-9A-Fa-f:.]+\]|\[v[0-9A-Fa-f]+\.[A-Za-z0-9\-._~!$&'()*+,;=:]+\])"
    rb"(?::[0-9]{0,5})?"
)

# What a request line may begin with, however much of it is here: its method is a token (RFC 9110 §9.1).
LINE_BEGINNING: Final = re.compile(rb"%b(?: |\Z)" % TOKEN.pattern)
# Nearly every request: origin-form, of visible ASCII but "#" (a request target has no fragment).
ORIGIN_FORM_LINE: Final = re.compile(
    rb"(%b) ((/[\x21\x22\x24-\x3e\x40-\x7e]*)(?:\?([\x21\x22\x24-\x7e]*))?) HTTP/(1\.[01])\r\n" % TOKEN.pattern
)
_LINE: Final = re.compile(rb"(%b) ([\x21\x22\x24-\x7e]+) HTTP/(([0-9])\.[0-9])\r\n" % TOKEN.pattern)
# Without a host it is no http URI (RFC 9110 §4.2.1), and user information is for phishing (§4.2.4).
_ABSOLUTE_FORM: Final = re.compile(rb"https?://([^:/?@][^/?@]*)(/[^?]*)?(?:\?(.*))?", re.IGNORECASE)


def name_method(method: bytes) -> str:
    """A token as ASGI has methods, in upper case.

    To everybody else ``head`` is another method than HEAD (RFC 9110 §9.1). A proxy waits for the body of its response,
    where an application sees HEAD and leaves the body out: the next response on the connection would be taken for it.

    Raises:
        PeerError: 501 for such a method.
    """
    name = method.decode("ascii").upper()
    if name == "HEAD" and method != b"HEAD":
        raise PeerError(501, "methods are case-sensitive, and this is not HEAD")
    return name


def check_text(head: bytes, where: str = "request head") -> None:
    """Refuse control characters, bare CR, bare LF and folded lines in a whole head or trailer section.

    One pass in C deletes what is allowed; what is left must be the line ends. RFC 9112 §2.2 (bare CR), §5.2
    (obs-fold): a lenient reader of either is how one message becomes two.
    """
    leftover = head.translate(None, TEXT)
    if head.count(b"\r\n") != len(leftover) >> 1 or len(leftover) & 1:
        raise PeerError(400, f"control character in the {where}")
    if b"\r\n " in head or b"\r\n\t" in head:
        raise PeerError(400, "folded or indented field line")


def read_fields(head: bytes) -> Fields:
    """Field lines of ``head``, which ends with its empty line: lower-case names, trimmed values, in order.

    Raises:
        PeerError: 400, a line is none, or the head has a character that it cannot have (RFC 9112 §5.1, §2.2).
    """
    check_text(head)
    fields = []
    for line in head[:-4].split(b"\r\n")[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not TOKEN.fullmatch(name):
            raise PeerError(400, "malformed field line")
        fields.append((name.lower(), value.strip(b" \t")))
    return fields


def read_unusual_line(head: bytes) -> tuple[bytes, bytes, bytes, bytes, bytes | None, bytes]:
    """Method, target, path, query, authority of an absolute-form target, and version (RFC 9112 §2.3, §3).

    Raises:
        PeerError: 505 for another major version, 501 for CONNECT, 400 for everything that is no request line.
    """
    match = _LINE.match(head)
    if match is None:
        raise PeerError(400, "malformed request line")
    method, target, version, major = match.groups()
    if major != b"1":
        raise PeerError(505, "only HTTP/1.1 and HTTP/1.0 are served")
    return method, target, *_split_target(method, target), version


def _split_target(method: bytes, target: bytes) -> tuple[bytes, bytes, bytes | None]:
    """Path, query and authority of the less usual forms (RFC 9112 §3.2)."""
    if method == b"CONNECT":
        raise PeerError(501, "CONNECT is for proxies")
    if target.startswith(b"/"):
        path, _, query = target.partition(b"?")
        return path, query, None
    if target == b"*" and method == b"OPTIONS":
        return target, b"", None
    match = _ABSOLUTE_FORM.fullmatch(target)
    if match is None or not HOST.fullmatch(match[1]):
        raise PeerError(400, "malformed request target")
    path = match[2] or (b"*" if method == b"OPTIONS" and match[3] is None else b"/")
    return path, match[3] or b"", match[1]
