"""The deadline that a trusted proxy passes on with a request (``--deadline-header``)."""

import logging
from time import time
from typing import Final

from trioserve._complaints import complain
from trioserve._connection.request_ids import TrustsPeer
from trioserve._protocol.client_deadline import seconds_left
from trioserve._streams import Address
from trioserve._types import Fields

__all__ = ["DeadlineHeader"]

log = logging.getLogger("trioserve")

SHOWN: Final = 100  # bytes of a value


class DeadlineHeader:
    """Of one server. ``name`` is in lower case."""

    def __init__(self, name: str, trusts: TrustsPeer) -> None:
        self._name = name.encode("ascii")
        self._trusts = trusts

    def seconds(self, peer: Address | None, local: Address | None, fields: Fields) -> float | None:
        """How long the client of a request still waits; ``None`` if nobody who is trusted says so.

        What cannot be read is ignored, and so is a field that is there twice: the request is as good as any other.
        """
        values = [value for name, value in fields if name == self._name]
        if not values or not self._trusts(peer, local):
            return None
        seconds = seconds_left(self._name, values[0], time()) if len(values) == 1 else None
        if seconds is None:
            complain(log, "%s ignored, which says %.*r", self._name.decode(), SHOWN, b", ".join(values),
                     level=logging.DEBUG)
        return seconds
