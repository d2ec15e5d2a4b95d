"""The reference engine: h11 judges the field lines of one whole request head."""

import h11

from trioserve._errors import PeerError
from trioserve._protocol.grammar import read_fields
from trioserve._types import Fields

__all__ = ["parse_fields"]


def parse_fields(head: bytes) -> Fields:
    """Field lines of ``head``, which ends with its empty line: lower-case names, trimmed values, in order.

    The values are those of the wire: h11 itself would make one of several equal Content-Length, which the codec
    refuses, and write Transfer-Encoding in lower case.

    Raises:
        PeerError: 400, h11 refuses the head.
    """
    fields = read_fields(head)  # h11 is lenient about line ends, folded lines and control characters
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=len(head) + 1)
    try:
        connection.receive_data(head)
        event = connection.next_event()
    except h11.RemoteProtocolError as exc:
        raise PeerError(400, "malformed request head") from exc  # h11's own words quote it
    if not isinstance(event, h11.Request):
        raise PeerError(400, "malformed request head")
    return fields
