"""The field ``traceparent``, which tells what requests of several programs belong together (W3C Trace Context §3.2)."""

import re
from typing import Final

from trioserve._types import Fields

__all__ = ["read_trace"]

_TRACEPARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")


def read_trace(fields: Fields) -> tuple[str, str] | None:
    """The ids of the trace, 32 hexadecimal digits, and of the caller's span, 16; ``None`` without a valid field.

    Version 00 ends after the flags, ff is none, and later ones may go on after another ``-`` (§3.2.2.1, §4.3). A field
    that is there twice says nothing.
    """
    values = [value for name, value in fields if name == b"traceparent"]
    match = _TRACEPARENT.fullmatch(values[0]) if len(values) == 1 else None
    if match is None:
        return None
    version, trace, span, rest = match.groups()
    if version == b"ff" or (version == b"00" and rest is not None) or not trace.strip(b"0") or not span.strip(b"0"):
        return None
    return trace.decode("ascii"), span.decode("ascii")
