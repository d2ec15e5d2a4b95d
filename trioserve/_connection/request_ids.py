"""A name for each request, by which the lines of several logs, and of several programs, are found to belong together.

A proxy in front of the server has named it already, in a header field; otherwise the server does. Nothing is looked
up or made before somebody asks: most requests are never asked for their name.
"""

import itertools
import os
import re
from collections.abc import Callable
from typing import Final, TypeAlias

from trioserve._streams import Address
from trioserve._types import Fields

__all__ = ["RequestIds", "TrustsPeer"]

TrustsPeer: TypeAlias = Callable[[Address | None, Address | None], bool]
"""Whether a peer is believed, given its address (``None`` on a unix socket) and the one that it connected to."""

_BELIEVABLE: Final = re.compile(rb"[!-~]{1,128}")  # fit for a log line; a proxy's UUID or trace header is


class RequestIds:
    """Finds or makes names. One per process: made names are unique among all processes and restarts."""

    def __init__(self, header: str, trusts: TrustsPeer) -> None:
        self._name = header.lower().encode("latin-1")
        self._trusts = trusts
        self._prefix = os.urandom(6).hex()
        self._numbers = itertools.count(1)

    def name(self, peer: Address | None, local: Address | None, fields: Fields) -> str:
        """The name that a trusted peer has given to the request with these fields, or a new one."""
        for name, value in fields:
            if name == self._name and self._trusts(peer, local) and _BELIEVABLE.fullmatch(value):
                return value.decode("ascii")
        return f"{self._prefix}-{next(self._numbers):x}"
