"""Request heads that connections began with lately, understood once for all of them.

Health checks, and clients that open a connection for each request, say the same again and again: 1 instead of 8 us.
"""

from typing import Final

from trioserve._protocol.events import RequestHead

__all__ = ["REMEMBERED_BYTES", "HeadMemory"]

REMEMBERED_BYTES: Final = 1024  # of one head; larger ones are mostly cookies
_HEADS_AT_MOST: Final = 256
_ONE_CLIENTS_OWN: Final = frozenset((b"authorization", b"cookie", b"proxy-authorization", b"sec-websocket-key"))


class HeadMemory:
    """Whole heads by their bytes, one per server. Nothing secret is kept, nor what no other connection will say."""

    __slots__ = ("_heads", "recall")

    def __init__(self) -> None:
        self._heads: dict[bytes, RequestHead] = {}
        self.recall = self._heads.get

    def remember(self, text: bytes, head: RequestHead) -> None:
        """Keep a head, read from ``text``, if it may be met again."""
        if len(text) > REMEMBERED_BYTES or any(name in _ONE_CLIENTS_OWN for name, _ in head.headers):
            return
        if len(self._heads) >= _HEADS_AT_MOST:
            self._heads.clear()  # begins anew, because the heads are the clients' choice
        self._heads[text] = head
