"""The reason phrases of status lines (RFC 9110 §15, IANA's registry of status codes)."""

from http import HTTPStatus
from typing import Final

__all__ = ["REASON_PHRASES"]

# Python has those of RFC 7231 up to 3.12, so the same response would look different on another version.
_OF_RFC_9110: Final = {
    413: "Content Too Large", 414: "URI Too Long", 416: "Range Not Satisfiable", 422: "Unprocessable Content",
}  # fmt: skip

REASON_PHRASES: Final = {int(status): status.phrase for status in HTTPStatus} | _OF_RFC_9110
