"""What one process counts while requests end. Plain numbers: a request costs a lookup and a few additions."""

from bisect import bisect_left
from collections import Counter
from typing import Final
from weakref import WeakSet

from trioserve._admin.history import History
from trioserve._admin.metrics.families import DURATION_BUCKETS, METHODS, OF_APPLICATION, OTHER_METHOD, REASONS
from trioserve._admin.metrics.samples import Sample, Snapshot
from trioserve._asgi import COMPLETE
from trioserve._connection import Answered, ClosedWebSocket, RecordedRequest, Refused
from trioserve._connection.records import MessageCounts, status_of
from trioserve._protocol import Meaning

__all__ = ["Tally", "WebSocketTotals"]

SHORTEST: Final = DURATION_BUCKETS[0]
LONGER: Final = DURATION_BUCKETS[1:]
UNKNOWN_VERSION: Final = "unknown"
NO_STATUS: Final = "none"  # the server ended the request, and its client got nothing
CLOSE_REASONS: Final = (1000, 1001, 1006)  # codes that ordinary life brings: an end, a page that is left, a cut line


class Series:
    """Requests of one method, status and version.

    Attributes:
        meaning: that many of them have.
        quick: how many were in the first bucket of durations, as nearly all are on a busy server.
        slower: how many were in each of the others; what is longer than the longest is in the last.
        sent_bytes: of the bodies of the responses.
        untimed: how many more there were, whose heads could not be read.
    """

    __slots__ = ("meaning", "method", "quick", "seconds", "sent_bytes", "slower", "status", "untimed", "version")

    meaning: Meaning | None

    def __init__(self, method: str, status: int, version: str) -> None:
        self.method = method
        self.status = status
        self.version = version
        self.meaning = None
        self.quick = 0
        self.slower = [0] * len(DURATION_BUCKETS)
        self.seconds = 0.0
        self.sent_bytes = 0
        self.untimed = 0

    def buckets(self) -> list[float]:
        return [self.quick, *self.slower]


NO_SERIES: Final = Series("", 0, "")  # which no request belongs to


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

    It tells ``history`` what that wants to know. A second recorder would cost each request a call more, and to look at
    each request as much as to count it. So requests like the last one are only counted, while there are enough of them.

    Attributes:
        ended_websockets: what went through those that have ended.
    """

    __slots__ = (
        "_broken_off", "_close_codes", "_ended_early", "_history", "_refused_body_bytes", "_request_body_bytes",
        "_series", "_usual", "ended_websockets",
    )  # fmt: skip

    needs_context = False

    def __init__(self, history: History) -> None:
        self._history = history
        self._series: dict[tuple[str, int, str], Series] = {}
        self._usual = NO_SERIES  # of which the history has enough, until ``look_again``
        self._broken_off: WeakSet[RecordedRequest] = WeakSet()  # ended early, and not yet gone
        self._request_body_bytes = 0
        self._refused_body_bytes = 0
        self._ended_early: Counter[str] = Counter()
        self._close_codes: Counter[int] = Counter()
        self.ended_websockets = WebSocketTotals()

    # As a recorder.

    def answered(self, answered: Answered, seconds: float) -> None:
        response, head = answered.response, answered.request.head
        meaning, series = head.meaning, self._usual
        if (
            head.method != series.method or response.status != series.status or response.state != COMPLETE
            or (meaning is not series.meaning
                and (meaning.content_length != 0 or meaning.http_version != series.version))
        ):  # fmt: skip
            series = self._look_closely(answered, seconds)
        if seconds <= SHORTEST:  # in each request bisect and a list would cost 0.1 us
            series.quick += 1
        else:
            series.slower[bisect_left(LONGER, seconds)] += 1
        series.seconds += seconds
        series.sent_bytes += response.body_bytes

    def _look_closely(self, answered: Answered, seconds: float) -> Series:
        """The series that it belongs to. The history hears of it, unless it is one more that ended well."""
        head, status = answered.head, status_of(answered)
        meaning = head.meaning
        series = self._series_of((head.method, status, meaning.http_version))
        if meaning.content_length != 0:
            self._request_body_bytes += answered.request_body_bytes
        went_well = 0 < answered.final_status < 500 and not answered.end_reason
        if not went_well or self._history.room:
            self._history.answered(answered, seconds, went_well=went_well)
        elif not self._broken_off and meaning.content_length == 0:
            self._usual = series
            series.meaning = meaning
        return series

    def look_again(self) -> None:
        """The history has room."""
        self._usual = NO_SERIES

    def websocket_closed(self, websocket: ClosedWebSocket, seconds: float) -> None:
        session = websocket.session
        self._close_codes[session.close_code] += 1
        if session.codec is not None:
            self.ended_websockets.add(session.codec)
        self._history.websocket_closed(websocket, seconds)

    def refused(self, refused: Refused) -> None:
        key = (refused.method or OTHER_METHOD, refused.status, refused.http_version or UNKNOWN_VERSION)
        self._series_of(key).untimed += 1
        self._refused_body_bytes += refused.body_bytes
        self._history.refused(refused)

    def ended_early(self, request: RecordedRequest, reason: str, seconds: float) -> None:
        self._ended_early[reason if reason in REASONS else OF_APPLICATION] += 1
        self._broken_off.add(request)
        self._usual = NO_SERIES

    def _series_of(self, key: tuple[str, int, str]) -> Series:
        """The series that ``key`` belongs to, made if there is none. What clients make up makes none."""
        method, status, version = key
        known = (method if method in METHODS else OTHER_METHOD, status, version)
        return self._series.get(known) or self._series.setdefault(known, Series(*known))

    # For a snapshot.

    def samples(self) -> Snapshot:
        return {
            "trioserve_requests_total": [
                Sample((method, _class_of(status), version), [sum(series.buckets()) + series.untimed])
                for (method, status, version), series in self._series.items()],
            "trioserve_request_duration_seconds": [
                Sample((method, _class_of(status)), [series.seconds, *series.buckets()])
                for (method, status, _), series in self._series.items()],
            "trioserve_request_body_bytes_total": [Sample((), [self._request_body_bytes])],
            "trioserve_response_body_bytes_total": [Sample((), [
                self._refused_body_bytes + sum(series.sent_bytes for series in self._series.values())])],
            "trioserve_requests_ended_early_total": [
                Sample((reason,), [count]) for reason, count in self._ended_early.items()],
            "trioserve_websockets_closed_total": [
                Sample((_close_class(code),), [count]) for code, count in self._close_codes.items()],
        }


def _class_of(status: int) -> str:
    return f"{status // 100}xx" if status else NO_STATUS


def _close_class(code: int) -> str:
    """Codes that ordinary life brings by themselves; the others by who has defined them (RFC 6455 §7.4.2)."""
    return str(code) if code in CLOSE_REASONS else f"{code // 1000}xxx"
