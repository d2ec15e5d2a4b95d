"""When a request body comes too slowly."""

from typing import Final

from trioserve._errors import PeerError

__all__ = ["BodyPace", "BodyTimeout"]

GRACE_SECONDS: Final = 5.0  # before the rate counts (Apache's mod_reqtimeout gives 20)
SLOWEST_BYTES_PER_SECOND: Final = 240  # slower than any modem, faster than a slow-body attack likes to be


class BodyTimeout(PeerError):
    """The body does not come, or drips."""

    end_reason = "body-timeout"

    def __init__(self) -> None:
        super().__init__(408, "the request body took too long", limit="timeout_body")


class BodyPace:
    """What has come of one body while somebody waited for it, and how long that took."""

    __slots__ = ("_bytes", "_seconds")

    def __init__(self) -> None:
        self._bytes = 0
        self._seconds = 0.0

    def note(self, size: int, seconds: float) -> None:
        self._bytes += size
        self._seconds += seconds

    @property
    def is_drip(self) -> bool:
        """It is slower than is believed of a client that can do better."""
        counted = self._seconds - GRACE_SECONDS
        return counted > 0 and self._bytes < SLOWEST_BYTES_PER_SECOND * counted
