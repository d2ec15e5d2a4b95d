"""A request that was answered without having become one: what is known of it, for the access log."""

from typing import NamedTuple

from trioserve._errors import PeerError
from trioserve._protocol.grammar import ORIGIN_FORM_LINE, TOKEN
from trioserve._streams import Address
from trioserve._types import Fields

__all__ = ["Refused"]

SHOWN_BYTES = 200  # of a line that is no request line: enough to see what it was, and no way to fill a disk


class Refused(NamedTuple):
    """The head was malformed, too large or too slow.

    Attributes:
        client: the peer; what proxies say stands in the fields, which nobody has read.
        line: the request line as it came, perhaps only its beginning; empty if that is all that came.
        method: ``None``, like path, query and version, unless the request line is whole and in origin-form.
        reason: the rule that was broken.
        body_bytes: of the answer.
    """

    client: Address | None
    line: bytes
    method: str | None
    raw_path: bytes | None
    query_string: bytes | None
    http_version: str | None
    status: int
    reason: str
    body_bytes: int

    @classmethod
    def from_head(cls, head: bytes, refusal: PeerError, client: Address | None, body_bytes: int) -> "Refused":
        """``head``: what has come of it."""
        match = ORIGIN_FORM_LINE.match(head)
        if match is None:
            line = head[: SHOWN_BYTES + 1].partition(b"\r\n")[0]
            line = line if len(line) <= SHOWN_BYTES else line[:SHOWN_BYTES] + b"..."
            return cls(client, line, None, None, None, None, refusal.status, refusal.reason, body_bytes)
        line = match[0].removesuffix(b"\r\n")
        return cls(
            client, line, match[1].decode("ascii"), match[3], match[4] or b"", line[-3:].decode("ascii"),
            refusal.status, refusal.reason, body_bytes,
        )  # fmt: skip

    @classmethod
    def from_fields(cls, fields: Fields, refusal: PeerError, client: Address | None) -> "Refused":
        """``fields``: of a request in HTTP/2, as they came. The answer is a reset, or has a line as its body."""
        pseudo = dict(fields[:4])
        method, target = pseudo.get(b":method", b"-"), pseudo.get(b":path", b"-")
        line = b"%b %b HTTP/2" % (method, target)
        if not TOKEN.fullmatch(method) or len(line) > SHOWN_BYTES:
            line = line if len(line) <= SHOWN_BYTES else line[:SHOWN_BYTES] + b"..."
            return cls(client, line, None, None, None, "2", refusal.status, refusal.reason, 0)
        path, _, query = target.partition(b"?")
        return cls(client, line, method.decode("ascii"), path, query, "2", refusal.status, refusal.reason, 0)
