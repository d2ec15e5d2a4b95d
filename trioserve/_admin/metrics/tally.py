"""What one process counts while requests end. Plain numbers: a request costs a lookup and a few additions."""

from bisect import bisect_left
from collections import Counter
from typing import Final

from trioserve._admin.metrics.families import DURATION_BUCKETS, METHODS, OF_APPLICATION, OTHER_METHOD, REASONS
from trioserve._admin.metrics.samples import Sample, Snapshot
from trioserve._asgi import COMPLETE
from trioserve._connection import Answered, ClosedWebSocket, Refused
from trioserve._connection.records import MessageCounts
from trioserve._protocol import RequestHead

__all__ = ["Tally", "WebSocketTotals"]

LEFT: Final = 499  # of the access log, for a client that left before it got anything
UNKNOWN_VERSION: Final = "unknown"
CLOSE_REASONS: Final = (1000, 1001, 1006)  # codes that ordinary life brings: an end, a page that is left, a cut line


class Series:
    """Requests of one method, status and version.

    Attributes:
        buckets: of their durations; what is longer than the longest is in the last.
        untimed: how many more there were, whose heads could not be read.
    """

    __slots__ = ("buckets", "seconds", "untimed")

    def __init__(self) -> None:
        self.buckets = [0] * (len(DURATION_BUCKETS) + 1)
        self.seconds = 0.0
        self.untimed = 0


class WebSocketTotals:
    """What went through some WebSockets."""

    __slots__ = ("received_bytes", "received_messages", "sent_bytes", "sent_messages")

    def __init__(self) -> None:
        self.received_messages = self.received_bytes = self.sent_messages = self.sent_bytes = 0

    def add(self, counts: MessageCounts) -> None:
        self.received_messages += counts.received_messages
        self.received_bytes += counts.received_bytes
        self.sent_messages += counts.sent_messages
        self.sent_bytes += counts.sent_bytes

    def samples(self) -> Snapshot:
        return {
            "trioserve_websocket_messages_total": [
                Sample(("received",), [self.received_messages]), Sample(("sent",), [self.sent_messages])],
            "trioserve_websocket_payload_bytes_total": [
                Sample(("received",), [self.received_bytes]), Sample(("sent",), [self.sent_bytes])],
        }


class Tally:
    """A recorder. Statuses are counted one by one, because a class costs a division; samples have the class.

    Attributes:
        ended_websockets: what went through those that have ended.
    """

    needs_context = False

    def __init__(self) -> None:
        self._series: dict[tuple[str, int, str], Series] = {}
        self._request_body_bytes = 0
        self._response_body_bytes = 0
        self._ended_early: Counter[str] = Counter()
        self._close_codes: Counter[int] = Counter()
        self.ended_websockets = WebSocketTotals()

    # As a recorder.

    def answered(self, answered: Answered, seconds: float) -> None:
        head, response = answered.head, answered.response
        status = response.status if response.state == COMPLETE else answered.final_status  # the same, at half the price
        key = (head.method, status, head.meaning.http_version)
        series = self._series.get(key) or self._series_of(key)
        series.buckets[bisect_left(DURATION_BUCKETS, seconds)] += 1
        series.seconds += seconds
        self._response_body_bytes += response.body_bytes
        if head.meaning.content_length != 0:
            self._request_body_bytes += answered.request_body_bytes

    def websocket_closed(self, websocket: ClosedWebSocket, seconds: float) -> None:
        session = websocket.session
        self._close_codes[session.close_code] += 1
        if session.codec is not None:
            self.ended_websockets.add(session.codec)

    def refused(self, refused: Refused) -> None:
        key = (refused.method or OTHER_METHOD, refused.status, refused.http_version or UNKNOWN_VERSION)
        self._series_of(key).untimed += 1
        self._response_body_bytes += refused.body_bytes

    def ended_early(self, head: RequestHead, reason: str, seconds: float) -> None:
        self._ended_early[reason if reason in REASONS else OF_APPLICATION] += 1

    def _series_of(self, key: tuple[str, int, str]) -> Series:
        """The series that ``key`` belongs to, made if there is none. What clients make up makes none."""
        method, status, version = key
        known = (method if method in METHODS else OTHER_METHOD, status or LEFT, version)
        return self._series.setdefault(known, Series())

    # For a snapshot.

    def samples(self) -> Snapshot:
        return {
            "trioserve_requests_total": [
                Sample((method, _class_of(status), version), [sum(series.buckets) + series.untimed])
                for (method, status, version), series in self._series.items()],
            "trioserve_request_duration_seconds": [
                Sample((method, _class_of(status)), [series.seconds, *series.buckets])
                for (method, status, _), series in self._series.items()],
            "trioserve_request_body_bytes_total": [Sample((), [self._request_body_bytes])],
            "trioserve_response_body_bytes_total": [Sample((), [self._response_body_bytes])],
            "trioserve_requests_ended_early_total": [
                Sample((reason,), [count]) for reason, count in self._ended_early.items()],
            "trioserve_websockets_closed_total": [
                Sample((_close_class(code),), [count]) for code, count in self._close_codes.items()],
        }


def _class_of(status: int) -> str:
    return f"{status // 100}xx"


def _close_class(code: int) -> str:
    """Codes that ordinary life brings by themselves; the others by who has defined them (RFC 6455 §7.4.2)."""
    return str(code) if code in CLOSE_REASONS else f"{code // 1000}xxx"
