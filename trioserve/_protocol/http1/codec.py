"""HTTP/1.1 requests of one connection: bytes in, heads and bodies out (RFC 9112).

An engine (``head_h11``, ``head_httptools``) reads the field lines of one whole head. Everything around it exists
once, here: where a head ends and how large it may be, what is refused, how a body is framed, what is left over.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from trioserve._errors import PeerError
from trioserve._protocol.events import Meaning, RequestHead
from trioserve._protocol.grammar import LINE_BEGINNING, ORIGIN_FORM_LINE, name_method, read_fields, read_unusual_line
from trioserve._protocol.http1.chunked_body import ChunkedBody
from trioserve._protocol.http1.head_memory import REMEMBERED_BYTES, HeadMemory
from trioserve._protocol.meaning import interpret
from trioserve._types import Fields

__all__ = ["Http1Codec", "Http1Limits", "ParseFields"]

ParseFields = Callable[[bytes], Fields]
"""An engine: one whole head in, its field lines out; raises PeerError."""


_METHODS: Final = {method.encode(): method for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}


@dataclass(frozen=True, slots=True)
class Http1Limits:
    """Bounds of one request; all in bytes, but for the count of fields. ``None``: no limit."""

    request_line: int = 16 * 1024
    head: int = 64 * 1024
    fields: int = 100
    body: int | None = None


class Http1Codec:
    """Feed it with ``receive_data``; ask for ``next_head``, then ``take_body`` until ``body_complete``.

    Each call does a bounded amount of work. What ``take_body`` leaves for the next one is told by ``body_pending``.

    Attributes:
        trailing_data: bytes received and not used yet; they belong to what comes next.
        body_remaining: bytes of the last request's body that have not been taken yet; ``None`` while only its end will
            tell.
        heads_read: how many requests have come.
    """

    __slots__ = (
        "_chunks", "_limits", "_memory", "_parse_fields", "_scanned", "_skipped_line", "_unsuspicious",
        "body_remaining", "heads_read", "trailing_data",
    )  # fmt: skip

    def __init__(self, parse_fields: ParseFields, limits: Http1Limits, memory: HeadMemory | None = None) -> None:
        self._parse_fields = parse_fields
        self._limits = limits
        self._memory = HeadMemory() if memory is None else memory  # what it knows was read within the same limits
        self._unsuspicious = min(limits.request_line, limits.head)  # no head up to this size needs a closer look
        self.trailing_data = b""
        self._scanned = 0  # bytes of the buffer known to hold no end of a head
        self._skipped_line = False  # an empty line before the request line
        self._chunks: ChunkedBody | None = None  # of a body that has no length
        self.body_remaining: int | None = 0
        self.heads_read = 0

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the wire."""
        self.trailing_data = self.trailing_data + data if self.trailing_data else data

    @property
    def head_begun(self) -> bool:
        """Something of the next head has come, be it the empty line before it."""
        return bool(self.trailing_data) or self._skipped_line

    @property
    def chunks_taken(self) -> int | None:
        """Bytes of a body in chunks that have been taken; ``None`` of any other."""
        return None if self._chunks is None else self._chunks.taken

    @property
    def body_complete(self) -> bool:
        """Nothing of the last request's body is missing."""
        return self.body_remaining == 0

    @property
    def body_pending(self) -> bool:
        """``take_body`` has left something that it can take without more bytes from the wire."""
        return self._chunks is not None and self._chunks.pending

    def next_head(self) -> RequestHead | None:
        """The next request's head, or ``None`` while it is not whole.

        Raises:
            PeerError: the head is malformed, ambiguous or too large; the connection is only good for an answer. The
                head is still in ``trailing_data``, or what matters of it is in the error.
        """
        buffer = self.trailing_data
        if len(buffer) <= REMEMBERED_BYTES and (head := self._memory.recall(buffer)) is not None:
            self.trailing_data = b""
        elif (head := self._read_head()) is None:
            return None
        self._scanned = 0
        self._skipped_line = False
        self.heads_read += 1
        self._chunks = None
        self.body_remaining = length = head.meaning.content_length
        if length != 0:
            self._begin_body(head, length)
        return head

    def _read_head(self) -> RequestHead | None:
        buffer = self.trailing_data
        end = buffer.find(b"\r\n\r\n", self._scanned) + 4
        if end == 3:
            return self._wait_for_more()
        text = buffer[:end]
        if end <= REMEMBERED_BYTES and (head := self._memory.recall(text)) is not None:
            self.trailing_data = buffer[end:]
            return head
        if end > self._unsuspicious:
            self._check_size(text)
        match = ORIGIN_FORM_LINE.match(text)
        if match is None or match[1] == b"CONNECT":  # its target has another form
            return self._read_unusual_head(text)
        method, target, path, query, version = match.groups()
        name = _METHODS.get(method) or name_method(method)
        fields, meaning = self._read_fields(text, version)
        self.trailing_data = buffer[end:]
        head = RequestHead(
            name, target,
            path.decode("ascii") if b"%" not in path else _unquote(path), path, query or b"", fields, meaning,
        )  # fmt: skip
        if end <= REMEMBERED_BYTES:
            self._memory.note(text, head)
        return head

    def take_body(self) -> bytes:
        """The body bytes that have arrived; sets ``body_complete`` when they were the last.

        Of very many chunks these are some: while ``body_pending``, call again before more is received.

        Raises:
            PeerError: broken chunks (400), a body over the limit (413), too many trailers (431).
        """
        if self._chunks is not None:
            data, self.trailing_data = self._chunks.take(self.trailing_data)
            self.body_remaining = 0 if self._chunks.complete else None
            return data
        remaining, data = self.body_remaining, self.trailing_data
        assert remaining is not None, "it has a length"
        if len(data) <= remaining:  # they pass through without a copy, which is what an upload costs most
            self.trailing_data = b""
        else:
            data, self.trailing_data = data[:remaining], data[remaining:]
        self.body_remaining = remaining - len(data)
        return data

    def switch_protocols(self) -> bytes:
        """No further request will come. Returns the bytes that belong to the next protocol (RFC 9110 §7.8)."""
        rest, self.trailing_data = self.trailing_data, b""
        return rest

    def _wait_for_more(self) -> RequestHead | None:
        """No head yet: skip an empty line, and refuse early what cannot become a request any more."""
        buffer = self.trailing_data
        if buffer.startswith(b"\r\n") and not self._skipped_line:
            return self._skip_line()
        if not buffer or (buffer == b"\r" and not self._skipped_line):
            return None
        if not LINE_BEGINNING.match(buffer):
            raise PeerError(400, "malformed request line")
        self._check_size(buffer)
        if buffer.count(b"\n") != buffer.count(b"\r\n"):
            raise PeerError(400, "bare LF in the request head")
        self._scanned = max(0, len(buffer) - 3)
        return None

    def _check_size(self, head: bytes) -> None:
        limits = self._limits
        head = head.removeprefix(b"\r\n")  # an empty line before the request line is not counted
        line_end = head.find(b"\r")  # its LF may still be on the way
        if (line_end if line_end >= 0 else len(head)) > limits.request_line:
            raise PeerError(
                414, f"request line over the limit of {limits.request_line} bytes", limit="limit_request_line")
        if len(head) > limits.head:
            raise PeerError(431, f"request head over the limit of {limits.head} bytes", limit="limit_header_bytes")

    def _read_unusual_head(self, text: bytes) -> RequestHead | None:
        """An empty line comes first, or the target is not in origin-form (RFC 9112 §2.2, §3.2)."""
        if text.startswith(b"\r\n") and not self._skipped_line:
            return self._skip_line()
        method, target, path, query, authority, version = read_unusual_line(text)
        name = name_method(method)
        fields, meaning = self._read_fields(text, version)
        self.trailing_data = self.trailing_data[len(text) :]
        if authority is not None:  # it overrides the Host field (RFC 9112 §3.2.2)
            fields = [(b"host", authority), *(field for field in fields if field[0] != b"host")]
        return RequestHead(name, target, _unquote(path), path, query, fields, meaning)

    def _skip_line(self) -> RequestHead | None:
        """One empty line before the request line is forgiven (RFC 9112 §2.2)."""
        self._skipped_line = True
        self._scanned = 0
        self.trailing_data = self.trailing_data[2:]
        return self._read_head()

    def _read_fields(self, head: bytes, http_version: bytes) -> tuple[Fields, Meaning]:
        """The field lines, as the engine reads them, and what they mean."""
        try:
            fields = self._parse_fields(head)
        except PeerError:
            self._understand(read_fields(head), http_version)  # h11 judges some of it too, llhttp none: one verdict
            raise
        return fields, self._understand(fields, http_version)

    def _understand(self, fields: Fields, http_version: bytes) -> Meaning:
        if len(fields) > self._limits.fields:
            raise PeerError(431, f"more than {self._limits.fields} header fields", limit="limit_header_count")
        return interpret(fields, "1.0" if http_version == b"1.0" else "1.1")

    def _begin_body(self, head: RequestHead, length: int | None) -> None:
        """Raises PeerError, if the length is over the limit."""
        limit = self._limits.body
        if length is None:
            self._chunks = ChunkedBody(limit)
        elif limit is not None and length > limit:
            line = b"%b %b HTTP/%b\r\n" % (head.method.encode(), head.target, head.meaning.http_version.encode())
            raise PeerError(413, f"request body over the limit of {limit} bytes", head=line, limit="limit_request_body")


def _unquote(path: bytes) -> str:
    return unquote_to_bytes(path).decode("utf-8", "replace")
