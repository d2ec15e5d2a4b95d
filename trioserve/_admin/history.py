"""What has ended in the last seconds, and why: short requests are over before anybody looks at the tree."""

import os
from collections import deque
from itertools import chain
from time import perf_counter
from typing import Any, Final

from trioserve._admin.connection_nodes import shown_client
from trioserve._asgi import COMPLETE
from trioserve._connection import Answered, ClosedWebSocket, Refused
from trioserve._masking import without_query
from trioserve._protocol import RequestHead

__all__ = ["MOST_ENTRIES", "History"]

MOST_ENTRIES: Final = 200
SECONDS: Final = 30.0
PER_SECOND: Final = 50  # of requests that ended well; a busy server has more than anybody can read
LONGEST_TARGET: Final = 200  # bytes


class History:
    """A recorder, see ``Recorder``. Those that ended badly are kept apart, so that the others do not push them out."""

    needs_context = False

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._well: deque[tuple[float, dict[str, Any]]] = deque(maxlen=MOST_ENTRIES // 2)
        self._badly: deque[tuple[float, dict[str, Any]]] = deque(maxlen=MOST_ENTRIES // 2)
        self._second = 0.0  # began then
        self._in_second = 0
        self._full_until = 0.0

    def answered(self, answered: Answered, seconds: float) -> None:
        now = perf_counter()
        response, reason = answered.response, answered.end_reason
        if now < self._full_until and response.state == COMPLETE and response.status < 500 and not reason:
            return  # as nearly all requests of a busy server: 0.3 us
        status = answered.final_status
        went_badly = bool(reason) or status >= 500 or status == 0
        if not went_badly:
            self._count(now)
        entry = self._entry("request", answered.head, shown_client(answered.client), seconds)
        entry |= {"status": status, "sent": response.body_bytes}
        self._keep(now, entry, reason, answered.request_id(), went_badly=went_badly)

    def websocket_closed(self, websocket: ClosedWebSocket, seconds: float) -> None:
        session = websocket.session
        entry = self._entry("websocket", websocket.head, shown_client(websocket.client), seconds)
        codec = session.codec
        received, sent = (codec.received_bytes, codec.sent_bytes) if codec is not None else (0, 0)
        entry |= {"close_code": session.close_code, "received": received, "sent": sent}
        self._keep(perf_counter(), entry, websocket.end_reason, websocket.request_id(),
                   went_badly=bool(websocket.end_reason))

    def refused(self, refused: Refused) -> None:
        entry = {
            "kind": "refused", "name": without_query(refused.line.decode("latin-1")), "pid": self._pid,
            "client": shown_client(refused.client), "version": refused.http_version or "-", "seconds": 0.0,
            "status": refused.status, "sent": refused.body_bytes,
        }  # fmt: skip
        self._keep(perf_counter(), entry, refused.reason, None, went_badly=True)

    def ended_early(self, head: RequestHead, reason: str, seconds: float) -> None:
        """Its end will be told, too."""

    def entries(self) -> list[dict[str, Any]]:
        """Newest first, as docs/reference/tree.md says."""
        now = perf_counter()
        recent = [(moment, entry) for moment, entry in chain(self._well, self._badly) if now - moment <= SECONDS]
        recent.sort(key=lambda pair: -pair[0])
        return [{**entry, "ago": round(now - moment, 3)} for moment, entry in recent]

    def _count(self, now: float) -> None:
        """One more is kept, perhaps the last one of this second."""
        if now - self._second >= 1.0:
            self._second, self._in_second = now, 0
        self._in_second += 1
        if self._in_second >= PER_SECOND:
            self._full_until = self._second + 1.0

    def _entry(self, kind: str, head: RequestHead, client: str, seconds: float) -> dict[str, Any]:
        target = head.target[:LONGEST_TARGET].decode("latin-1")
        return {
            "kind": kind, "name": without_query(f"{head.method} {target}"), "pid": self._pid, "client": client,
            "version": head.meaning.http_version, "seconds": round(seconds, 6),
        }  # fmt: skip

    def _keep(
        self, now: float, entry: dict[str, Any], reason: str, request_id: str | None, *, went_badly: bool
    ) -> None:
        if reason:
            entry["reason"] = reason
        if request_id is not None:
            entry["request_id"] = request_id
        (self._badly if went_badly else self._well).append((now, entry))
