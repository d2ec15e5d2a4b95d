"""What follows from the names of a request's fields alone, whatever their values (RFC 9113 §8.2, §8.3).

A client uses few lists of names, a browser about ten. Each is looked at once: 3 us less for each new head (h2_mix).
"""

from collections.abc import Callable
from operator import itemgetter
from typing import Any, Final

from trioserve._errors import PeerError
from trioserve._protocol.events import Meaning
from trioserve._protocol.meaning import FORWARDING, INTERPRETED

__all__ = ["Names", "look_at"]

FIELD_OVERHEAD: Final = 32  # bytes that each field counts for beside its text (RFC 9113 §6.5.2)
KEPT_AT_MOST: Final = 256  # lists of names, of all clients together ...
KEPT_BYTES: Final = 1024  # ... and of each list

_TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"  # in lower case, RFC 9113 §8.2.1
_REQUEST: Final = (b":method", b":scheme", b":path")
_PSEUDO: Final = frozenset((*_REQUEST, b":authority", b":protocol"))
_CONNECTION_SPECIFIC: Final = frozenset(  # RFC 9113 §8.2.2
    (b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade")
)

# What such a field means is found out without a look at the others.
_UNDERSTOOD: Final = FORWARDING | {b"content-length", b"te"}

_MEANINGS: Final = {
    forwarded: tuple(
        Meaning("2", True, length, expects_continue=False, accepts_trailers=True, forwarded=forwarded)
        for length in (None, 0))
    for forwarded in (False, True)
}  # fmt: skip


class Names:
    """Of one list of names.

    Attributes:
        size: bytes, with what each field counts for beside its text.
        pseudo: how many pseudo-header fields there are; the regular ones follow.
        regular: how many of those.
        pick: from the values of such a request those of method, scheme and path; ``None`` for every other one.
        authority, length, te: where those values stand, of ``content-length`` and ``te`` the first; -1 without one.
        forwarded: proxies have said something.
        crumbs: of one cookie, where they stand when a Host field has taken the place of the pseudo-header fields;
            ``None`` when there are no two.
        is_ordinary: there is an authority, and no field but these means anything to the server; none of ``length`` and
            ``te`` comes twice, and the crumbs stand together.
        meanings: of such a request with a body and without one; ``None`` if they depend on ``length`` or ``te``.

    Raises:
        PeerError: 400, a request cannot have such names, in this order.
    """

    __slots__ = (
        "authority", "crumbs", "forwarded", "is_ordinary", "length", "meanings", "pick", "pseudo", "regular", "size",
        "te",
    )  # fmt: skip

    def __init__(self, names: tuple[bytes, ...]) -> None:
        self.pseudo = next((i for i, name in enumerate(names) if name not in _PSEUDO), len(names))
        pseudo, regular = names[: self.pseudo], names[self.pseudo :]
        if len(set(pseudo)) < len(pseudo):
            raise PeerError(400, "a pseudo-header field was repeated")
        if b"" in regular or b"".join(regular).translate(None, _TOKEN):
            raise PeerError(400, "malformed field name")
        if regular.count(b"host") > 1:
            raise PeerError(400, "more than one Host field")
        if not _CONNECTION_SPECIFIC.isdisjoint(regular):
            raise PeerError(400, "a field that is for HTTP/1.1 connections")
        self.size = sum(map(len, names)) + FIELD_OVERHEAD * len(names)
        self.regular = len(regular)
        self.authority, self.length, self.te = (
            names.index(name) if name in names else -1 for name in (b":authority", b"content-length", b"te"))
        self.forwarded = not FORWARDING.isdisjoint(regular)
        self.pick: Callable[[tuple[bytes, ...]], Any] | None = None
        if b":protocol" not in pseudo and all(name in pseudo for name in _REQUEST):
            self.pick = itemgetter(*map(pseudo.index, _REQUEST))
        cookies = regular.count(b"cookie")
        first = regular.index(b"cookie") if cookies else 0
        self.crumbs = slice(1 + first, 1 + first + cookies) if cookies > 1 else None
        self.is_ordinary = (
            self.authority >= 0
            and (INTERPRETED - _UNDERSTOOD).isdisjoint(regular)
            and regular.count(b"content-length") < 2 and regular.count(b"te") < 2
            and regular[first : first + cookies].count(b"cookie") == cookies
        )
        self.meanings = _MEANINGS[self.forwarded] if self.length < 0 and self.te < 0 else None


_kept: dict[tuple[bytes, ...], Names] = {}


def look_at(names: tuple[bytes, ...]) -> Names:
    """What is known of ``names``, in their order. Raises PeerError as ``Names`` does."""
    known = _kept.get(names)
    if known is None:
        known = Names(names)
        if known.size <= KEPT_BYTES:
            if len(_kept) >= KEPT_AT_MOST:
                _kept.clear()  # somebody makes them up; those that are in use come back
            _kept[names] = known
    return known
