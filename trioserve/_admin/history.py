"""What has ended in the last seconds, and why: short requests are over before anybody looks at the tree."""

import os
from collections import deque
from itertools import chain
from time import perf_counter
from typing import Any, Final

from trioserve._admin.connection_nodes import shown_client
from trioserve._connection import Answered, ClosedWebSocket, Refused
from trioserve._masking import without_query
from trioserve._protocol import RequestHead

__all__ = ["MOST_ENTRIES", "History"]

MOST_ENTRIES: Final = 200
SECONDS: Final = 30.0
MOST_AT_ONCE: Final = 50  # of requests that ended well; a busy server has more than anybody can read
PER_SECOND: Final = 50
LONGEST_TARGET: Final = 200  # bytes


class History:
    """Those that ended badly are kept apart, so that the others do not push them out.

    Attributes:
        room: for so many more requests that ended well, until ``make_room``.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._well: deque[tuple[float, dict[str, Any]]] = deque(maxlen=MOST_ENTRIES // 2)
        self._badly: deque[tuple[float, dict[str, Any]]] = deque(maxlen=MOST_ENTRIES // 2)
        self.room = MOST_AT_ONCE

    def make_room(self, seconds: float) -> None:
        """So many have gone by."""
        self.room = min(MOST_AT_ONCE, self.room + round(PER_SECOND * seconds))

    def answered(self, answered: Answered, seconds: float, *, went_well: bool) -> None:
        """A request has its response, or will never have one. If it ``went_well``, there has to be room for it."""
        if went_well:
            self.room -= 1
        entry = self._entry("request", answered.head, shown_client(answered.client), seconds)
        entry |= {"status": answered.final_status, "sent": answered.response.body_bytes}
        self._keep(entry, answered.end_reason, answered.request_id(), went_badly=not went_well)

    def websocket_closed(self, websocket: ClosedWebSocket, seconds: float) -> None:
        """A WebSocket that was accepted has come to its end."""
        session = websocket.session
        entry = self._entry("websocket", websocket.head, shown_client(websocket.client), seconds)
        codec = session.codec
        received, sent = (codec.received_bytes, codec.sent_bytes) if codec is not None else (0, 0)
        entry |= {"close_code": session.close_code, "received": received, "sent": sent}
        self._keep(entry, websocket.end_reason, websocket.request_id(), went_badly=bool(websocket.end_reason))

    def refused(self, refused: Refused) -> None:
        """A request was answered although its head could not be read."""
        entry = {
            "kind": "refused", "name": without_query(refused.line.decode("latin-1")), "pid": self._pid,
            "client": shown_client(refused.client), "version": refused.http_version or "-", "seconds": 0.0,
            "status": refused.status, "sent": refused.body_bytes,
        }  # fmt: skip
        self._keep(entry, refused.reason, None, went_badly=True)

    def entries(self) -> list[dict[str, Any]]:
        """Newest first, as docs/reference/tree.md says."""
        now = perf_counter()
        recent = [(moment, entry) for moment, entry in chain(self._well, self._badly) if now - moment <= SECONDS]
        recent.sort(key=lambda pair: -pair[0])
        return [{**entry, "ago": round(now - moment, 3)} for moment, entry in recent]

    def _entry(self, kind: str, head: RequestHead, client: str, seconds: float) -> dict[str, Any]:
        target = head.target[:LONGEST_TARGET].decode("latin-1")
        return {
            "kind": kind, "name": without_query(f"{head.method} {target}"), "pid": self._pid, "client": client,
            "version": head.meaning.http_version, "seconds": round(seconds, 6),
        }  # fmt: skip

    def _keep(self, entry: dict[str, Any], reason: str, request_id: str | None, *, went_badly: bool) -> None:
        if reason:
            entry["reason"] = reason
        if request_id is not None:
            entry["request_id"] = request_id
        (self._badly if went_badly else self._well).append((perf_counter(), entry))
