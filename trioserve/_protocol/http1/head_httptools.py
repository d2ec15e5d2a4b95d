"""The fast engine: httptools (llhttp) reads the field lines of one whole request head.

It takes 0.8 us where h11 takes 14 us, and is strict about every byte of a field line. llhttp knows a fixed list of
methods and versions, so a head that it refuses is judged by h11, the reference: both engines then refuse the same
bytes, and only an attacker pays for the second look.
"""

from typing import Final

import httptools

from trioserve._types import Fields

__all__ = ["parse_fields"]


_SPACE: Final = 0x20


class _FieldCollector:
    __slots__ = ("fields",)

    def __init__(self) -> None:
        self.fields: Fields = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value))


def parse_fields(head: bytes) -> Fields:
    """Field lines of ``head``, which ends with its empty line: lower-case names, trimmed values, in order.

    Raises:
        PeerError: neither llhttp nor h11 accepts the head.
    """
    collector = _FieldCollector()
    try:
        httptools.HttpRequestParser(collector).feed_data(head)
    except httptools.HttpParserUpgrade:
        pass  # an Upgrade or CONNECT head: complete, and what follows is not llhttp's to read
    except httptools.HttpParserError:
        from trioserve._protocol.http1 import head_h11  # not imported by the fast path

        return head_h11.parse_fields(head)
    for _, value in collector.fields:
        if value and value[-1] <= _SPACE:  # llhttp keeps trailing white space (RFC 9112 §5.1)
            return [(name, value.rstrip(b" \t")) for name, value in collector.fields]
    return collector.fields
