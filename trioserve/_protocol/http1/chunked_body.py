"""A request body in chunks, and where it ends (RFC 9112 §7.1): one reader, shared by both engines."""

import re
from typing import Final

from trioserve._errors import PeerError
from trioserve._protocol.grammar import TOKEN, check_text

__all__ = ["ChunkedBody"]

CHUNKS_AT_ONCE: Final = 125  # of one call, 0.1 ms of work: chunks of one byte must not keep others waiting
SMALL_BYTES: Final = 256  # a chunk that pays to be read together with those that follow
WINDOW_BYTES: Final = 16 * SMALL_BYTES  # in which these are looked for
CHUNK_LINE_BYTES: Final = 1024  # the longest chunk-size line; nobody sends extensions, nginx and llhttp bound them too
CHUNK_OVERHEAD_BYTES: Final = 16 * 1024  # all extensions of one body together (llhttp's and Go's figure)
TRAILER_BYTES: Final = 8 * 1024  # the trailer section; it is checked, then dropped (ASGI has no request trailers)

# chunk-size [ chunk-ext ] (RFC 9112 §7.1.1). White space around ";" and "=" is bad, but has to be read (RFC 9110
# §5.6.3); at the end of the line it has no place.
_TOKEN: Final = TOKEN.pattern
_QUOTED: Final = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'  # RFC 9110 §5.6.4
_BWS: Final = rb"[\t ]*"
_EXTENSION: Final = rb"%b;%b%b(?:%b=%b(?:%b|%b))?" % (_BWS, _BWS, _TOKEN, _BWS, _BWS, _TOKEN, _QUOTED)
_CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})((?:%b)*)" % _EXTENSION)
# Whatever can become a chunk-size line does so with one of these: it lacks nothing, or a token, the next extension
# after white space, the end of a quoted string, a character behind a backslash and then that end.
_COMPLETIONS: Final = (b"", b"a", b";a", b'"', b'a"')

# A client uses the same few sizes again and again. A line that has been read once costs one look-up.
_sizes: dict[bytes, int] = {}
_DIGITS: Final = 3  # of the lines that are kept: there are no more than a thousand for small chunks


class ChunkedBody:
    """Strict: CRLF only, no white space before the size, extensions and trailers bounded.

    Attributes:
        complete: its last byte has been taken.
        pending: the last call gave some bytes and left others that can be taken at once, to bound its work.
    """

    __slots__ = ("_are_small", "_data_left", "_in_trailers", "_limit", "_overhead", "_total", "complete", "pending")

    def __init__(self, limit: int | None) -> None:
        self.complete = self.pending = False
        self._limit = limit
        self._total = 0
        self._overhead = 0
        self._data_left = 0  # of the current chunk, its CRLF included
        self._are_small = False  # as far as can be told from the last chunk
        self._in_trailers = False

    @property
    def taken(self) -> int:
        """Bytes of chunks that have been given back."""
        return self._total - max(0, self._data_left - 2)

    def take(self, buffer: bytes) -> tuple[bytes, bytes]:
        """(body bytes at the front of ``buffer``, what is left of it); sets ``complete`` when the body ends.

        Raises:
            PeerError: the framing is broken (400) or the body is over its limit (413).
        """
        pieces: list[bytes] = []
        position = 0
        self.pending = False
        while not self.complete:
            before = position
            if self._in_trailers:
                position = self._skip_trailers(buffer, position)
            elif self._data_left:
                position = self._take_data(buffer, position, pieces)
            elif len(pieces) >= CHUNKS_AT_ONCE:
                self.pending = position < len(buffer)
                break
            else:
                if self._are_small:
                    position = self._take_small_chunks(buffer, position, pieces, CHUNKS_AT_ONCE - len(pieces))
                if position == before:
                    position = self._take_size_line(buffer, position)
            if position == before and not self.complete:
                break  # needs more bytes
        return b"".join(pieces), buffer[position:]  # to copy the rest of a large receive costs a twentieth of the work

    def _take_small_chunks(self, buffer: bytes, position: int, pieces: list[bytes], most: int) -> int:
        """Past small chunks of which all bytes are here and nothing is unusual: 0.3 us for each, and not 1.1."""
        lines = buffer[position : position + WINDOW_BYTES].split(b"\r\n", 2 * most)
        room = WINDOW_BYTES if self._limit is None else self._limit - self._total
        taken = 0
        for line, data in zip(lines[:-1:2], lines[1:-1:2], strict=False):  # the last line may be alone
            size = len(data)
            if _sizes.get(line) != size or taken + size > room:  # a line end in the data makes it another size
                break
            pieces.append(data)
            taken += size
            position += len(line) + size + 4
        self._total += taken
        return position

    def _take_size_line(self, buffer: bytes, position: int) -> int:
        end = buffer.find(b"\r\n", position, position + CHUNK_LINE_BYTES + 2)
        if end < 0:
            self._check_unfinished_line(buffer, position)
            return position
        match = _CHUNK_LINE.fullmatch(buffer, position, end)
        if match is None:
            raise PeerError(400, "malformed chunk size")
        size = int(match[1], 16)
        self._total += size
        if self._limit is not None and self._total > self._limit:
            raise PeerError(413, f"request body over the limit of {self._limit} bytes", limit="limit_request_body")
        self._overhead += len(match[2])
        if self._overhead > CHUNK_OVERHEAD_BYTES:
            raise PeerError(400, "too many chunk extensions")
        self._are_small = size <= SMALL_BYTES
        if size:
            self._data_left = size + 2
            if self._are_small and len(match[1]) <= _DIGITS:
                _sizes[match[1]] = size
        else:
            self._in_trailers = True
        return end + 2

    def _check_unfinished_line(self, buffer: bytes, position: int) -> None:
        """Refuse what cannot become a chunk-size line, before it is complete."""
        unfinished = buffer[position:]
        line = unfinished.removesuffix(b"\r")
        if len(line) > CHUNK_LINE_BYTES:
            raise PeerError(400, "chunk size line too long")
        completions = _COMPLETIONS if line is unfinished else _COMPLETIONS[:1]  # after CR nothing but LF may come
        if unfinished and not any(_CHUNK_LINE.fullmatch(line + end) for end in completions):
            raise PeerError(400, "malformed chunk size")

    def _take_data(self, buffer: bytes, position: int, pieces: list[bytes]) -> int:
        data_left = self._data_left - 2
        if data_left > 0:
            piece = buffer[position : position + data_left]
            pieces.append(piece)
            self._data_left -= len(piece)
            return position + len(piece)
        ending = buffer[position : position + self._data_left]
        if not b"\r\n"[2 - self._data_left :].startswith(ending):
            raise PeerError(400, "chunk data without CRLF at its end")
        self._data_left -= len(ending)
        return position + len(ending)

    def _skip_trailers(self, buffer: bytes, position: int) -> int:
        """Past the trailer section, once all of it is here; its fields are checked and dropped (RFC 9110 §6.5.1)."""
        if buffer.startswith(b"\r\n", position):
            self.complete = True
            return position + 2
        end = buffer.find(b"\r\n\r\n", position, position + TRAILER_BYTES)
        if end < 0:
            unfinished = buffer[position:]
            if len(unfinished) >= TRAILER_BYTES:
                raise PeerError(431, "trailer section too large")
            if unfinished.count(b"\n") != unfinished.count(b"\r\n"):
                raise PeerError(400, "bare LF in the trailer section")
            return position
        section = buffer[position : end + 4]
        check_text(section, "trailer section")
        for line in section[:-4].split(b"\r\n"):
            name, colon, _ = line.partition(b":")
            if not colon or not TOKEN.fullmatch(name):
                raise PeerError(400, "malformed trailer field")
        self.complete = True
        return end + 4
