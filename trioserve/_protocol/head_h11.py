"""The reference engine: h11 reads the field lines of one whole request head."""

import h11

from trioserve._errors import PeerError
from trioserve._protocol.grammar import check_text
from trioserve._types import Fields

__all__ = ["parse_fields"]


def parse_fields(head: bytes) -> Fields:
    """Field lines of ``head``, which ends with its empty line: lower-case names, trimmed values, in order.

    Raises:
        PeerError: h11 refuses the head; the status is h11's own.
    """
    check_text(head)  # h11 is lenient about line ends, folded lines and control characters
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=len(head) + 1)
    try:
        connection.receive_data(head)
        event = connection.next_event()
    except h11.RemoteProtocolError as exc:
        raise PeerError(exc.error_status_hint, f"malformed request head: {exc}") from exc
    if not isinstance(event, h11.Request):
        raise PeerError(400, "malformed request head")
    return list(event.headers)
