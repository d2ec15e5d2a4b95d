"""The reference engine: h11 judges the field lines of one whole request head."""

import h11

from trioserve._errors import PeerError
from trioserve._protocol.grammar import check_text
from trioserve._types import Fields

__all__ = ["parse_fields"]


def parse_fields(head: bytes) -> Fields:
    """Field lines of ``head``, which ends with its empty line: lower-case names, trimmed values, in order.

    The values are those of the wire: h11 itself would make one of several equal Content-Length, which the codec
    refuses, and write Transfer-Encoding in lower case.

    Raises:
        PeerError: h11 refuses the head; the status is h11's own.
    """
    check_text(head)  # h11 is lenient about line ends, folded lines and control characters
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=len(head) + 1)
    try:
        connection.receive_data(head)
        event = connection.next_event()
    except h11.RemoteProtocolError as exc:
        raise PeerError(exc.error_status_hint, "malformed request head") from exc  # h11's own words quote it
    if not isinstance(event, h11.Request):
        raise PeerError(400, "malformed request head")
    lines = [line.partition(b":") for line in head[:-4].split(b"\r\n")[1:]]
    return [(name.lower(), value.strip(b" \t")) for name, _, value in lines]
