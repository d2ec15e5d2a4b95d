"""What is looked at before an HTTP/2 engine sees it: how many frames a client sends, and of which kind.

Floods are cheap to send, and engines work on each frame. And neither engine knows all rules: a few of them are here.
"""

import math
import struct
from typing import Final, Protocol

from trioserve._protocol.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FRAME_BYTES,
    FRAME_HEADER_BYTES,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    HIGHEST_STREAM_ID,
    PADDED,
    PREFACE,
    PRIORITY,
    PROTOCOL_ERROR,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    FieldSectionTooLarge,
    Http2Error,
)

__all__ = ["CONTINUATIONS", "Allowance", "FrameGuard", "OpenStreams"]

_FRAME_HEADER: Final = struct.Struct(">IBI")  # size and kind, flags, stream (RFC 9113 §4.1)

_FIELD_SECTIONS: Final = frozenset((HEADERS, CONTINUATION))
_RULED: Final = frozenset((SETTINGS, PRIORITY))

CONTINUATIONS: Final = 64  # of one field section: 16 KiB each are far more than a head may have
VALUE_BYTES: Final = 64 * 1024  # of a compressed value, which libnghttp2 reads; a larger one ends its connection
MOST_PADDING_BYTES: Final = 255  # of a frame, whose length is told in one byte (RFC 9113 §6.1)
STREAM_ID_BYTES: Final = 4  # which a GOAWAY begins with (RFC 9113 §6.8)


class Allowance:
    """So much at once, and as much again in each ``seconds``; ``None`` for no limit."""

    __slots__ = ("_amount", "_left", "_per_second", "_since")

    def __init__(self, amount: int | None, seconds: float, now: float) -> None:
        self._amount = self._left = math.inf if amount is None else float(amount)
        self._per_second = self._amount / seconds
        self._since = now  # in the seconds of the caller's clock

    def take(self, count: int, now: float) -> bool:
        """False when it is used up."""
        self._left = min(self._amount, self._left + (now - self._since) * self._per_second) - count
        self._since = now
        return self._left >= 0

    def give(self, count: int) -> None:
        """Something else has been done that is worth it."""
        self._left += count


class OpenStreams(Protocol):
    """What has become of those that the client has begun; see ``Http2Events``."""

    def is_open(self, stream_id: int) -> bool: ...
    def is_answered(self, stream_id: int) -> bool: ...


class FieldSections:
    """Those that a client sends on one connection. Each may take several frames, but not without end (CVE-2024-27316).

    Attributes:
        highest: number of a stream on which one has begun.
        is_open: one has begun whose last frame has not begun, or it is too large.
        known: streams, of those that existed before, on which one began; whoever looks clears it. One that began in the
            same data has not been closed before.
    """

    __slots__ = ("_continuations", "_head_bytes", "_is_new", "_most_bytes", "_size", "highest", "is_open", "known")

    def __init__(self, head_bytes: int) -> None:
        self._head_bytes = head_bytes  # of one at most
        self._most_bytes = min(2 * head_bytes, max(head_bytes, VALUE_BYTES))  # of a compressed one
        self._size = self._continuations = 0  # of the last one
        self._is_new = False  # its stream
        self.highest = 0
        self.is_open = False
        self.known: list[int] = []

    def look_at(self, kind: int, flags: int, stream_id: int, size: int, begun: set[int], reset: set[int]) -> None:
        """One frame; ``begun`` and ``reset``: what became of streams before it in the same data."""
        if kind == HEADERS:
            if not stream_id:
                raise Http2Error(PROTOCOL_ERROR, "fields on stream 0, which is the connection's")  # RFC 9113 §6.2
            self._size = self._continuations = 0
            self._is_new = stream_id > self.highest
            if self._is_new:
                self.highest = stream_id
                begun.add(stream_id)
            elif stream_id in reset:
                raise Http2Error(STREAM_CLOSED, "fields after a reset")  # RFC 9113 §5.1
            elif stream_id not in begun:
                self.known.append(stream_id)
        else:
            self._continuations += 1
        self._size += size
        self.is_open = True
        if self._continuations > CONTINUATIONS:
            raise Http2Error(ENHANCE_YOUR_CALM, "a field section that does not end")
        if self._size > self._most_bytes:
            if not self._is_new:
                raise Http2Error(ENHANCE_YOUR_CALM, "trailer fields that are too large")
            raise FieldSectionTooLarge(stream_id, self._head_bytes)
        self.is_open = not flags & END_HEADERS


class FrameGuard:
    """Of one connection.

    What makes progress is free: requests, bodies. Everything else comes out of an allowance. Two are kept, both by
    rate, because a connection may live for days:

    - ``resets``: streams that ended before their time, whoever has reset them (CVE-2023-44487, CVE-2025-8671). Those
      that the client resets before it has anything of an answer are counted here, the others by who resets them.
    - ``control``: all other frames (CVE-2019-9512, -9514, -9515, -9518). What we send of bodies makes it grow again,
      because a client that takes it has to send WINDOW_UPDATE. Resets of streams that have been answered are among
      them: a browser sends many of them when a page is left.

    Attributes:
        has_begun: a frame has come.
        sections: what has come of field sections.
        section_at: where the last one begins in the data that was looked at last; ``None`` when it began before.
    """

    __slots__ = (
        "_goaway_id", "_kind", "_partial", "_skip", "control", "has_begun", "resets", "section_at", "sections",
    )  # fmt: skip

    def __init__(self, head_bytes: int, resets: Allowance, control: Allowance) -> None:
        """``head_bytes``: of one field section at most."""
        self._skip = len(PREFACE)  # bytes until the next frame begins
        self._kind = SETTINGS  # of the last frame
        self._partial = b""  # of a frame header
        self._goaway_id: bytes | None = None  # the beginning of a number, of which more will come
        self.section_at: int | None = None
        self.sections = FieldSections(head_bytes)
        self.has_begun = False
        self.resets = resets
        self.control = control

    def look_at(self, data: bytes, now: float, streams: OpenStreams) -> bytes:
        """All frames that begin in ``data``. Returns it as an engine shall see it.

        Raises:
            Http2Error: they are too many, or of a kind that cannot come now.
            FieldSectionTooLarge: what comes before ``section_at`` may be of use.
        """
        seen = data if self._goaway_id is None else self._see_goaway(data, 0, self._goaway_id)
        before = len(self._partial)
        self.section_at = None
        if before:
            data = self._partial + data
        position, end, sections, unpack = self._skip, len(data), self.sections, _FRAME_HEADER.unpack_from
        # The newest stream may have begun in a frame of which a part is missing: then nobody else knows it yet.
        is_cut = position > 0 or sections.is_open
        known_to_all = sections.highest - is_cut
        begun = {sections.highest} if is_cut else set()  # streams, in this data
        reset: set[int] = set()
        resets = control = 0
        kind = self._kind
        while position + FRAME_HEADER_BYTES <= end:
            size_and_kind, flags, stream_id = unpack(data, position)
            size, kind = size_and_kind >> 8, size_and_kind & 0xFF
            if size > FRAME_BYTES:
                raise Http2Error(FRAME_SIZE_ERROR, "a frame larger than any settings allow")  # RFC 9113 §4.2
            if not self.has_begun:
                self._check_first(kind, flags)
            if sections.is_open is not (kind == CONTINUATION):  # RFC 9113 §6.10
                raise Http2Error(PROTOCOL_ERROR, "a field section that was interrupted, or has not begun")
            if kind == DATA:
                if not size or flags & PADDED:
                    control += not flags & END_STREAM and _is_empty(data, position, size, flags)
            elif kind in _FIELD_SECTIONS:
                if kind == HEADERS:
                    self.section_at = max(0, position - before)
                sections.look_at(kind, flags, stream_id & HIGHEST_STREAM_ID, size, begun, reset)
            elif kind == RST_STREAM:
                stream_id &= HIGHEST_STREAM_ID
                if stream_id > sections.highest:
                    raise Http2Error(PROTOCOL_ERROR, "the reset of a stream that does not exist")  # RFC 9113 §6.4
                is_early = not _has_got_something(stream_id, streams, known_to_all)
                resets += is_early
                control += not is_early
                reset.add(stream_id)
            else:
                control += 1
                if kind in _RULED:
                    _check_rules(kind, flags, stream_id & HIGHEST_STREAM_ID, size)
                if kind == GOAWAY and size >= STREAM_ID_BYTES:
                    seen = self._see_goaway(seen, position - before + FRAME_HEADER_BYTES, b"")
            position += FRAME_HEADER_BYTES + size
        self._partial = data[position:]
        self._kind = kind
        self._skip = max(0, position - end)
        if resets and not self.resets.take(resets, now):
            raise Http2Error(ENHANCE_YOUR_CALM, "too many streams were reset", limit="limit_http2_resets")
        if control and not self.control.take(control, now):
            raise Http2Error(
                ENHANCE_YOUR_CALM, "too many frames that make no progress", limit="limit_http2_control_frames")
        return seen

    @property
    def awaits_fields(self) -> bool:
        """Something is missing of a field section that the client has begun."""
        return self.sections.is_open or (self._skip > 0 and self._kind in _FIELD_SECTIONS)

    def _see_goaway(self, data: bytes, at: int, begun: bytes) -> bytes:
        """``data``, in which the number of a stream, or what is missing of it after ``begun``, stands ``at`` there.

        It means streams of the server, which have even numbers. The highest of all, the first of two steps, is odd
        (RFC 9113 §6.8), and both engines take it for an error. They get the highest even one.
        """
        end = at + STREAM_ID_BYTES - len(begun)
        number = begun + data[at:end]
        if len(number) < STREAM_ID_BYTES:
            self._goaway_id = number
            return data
        self._goaway_id = None
        if int.from_bytes(number, "big") & HIGHEST_STREAM_ID != HIGHEST_STREAM_ID:
            return data
        return data[: end - 1] + b"\xfe" + data[end:]

    def _check_first(self, kind: int, flags: int) -> None:
        """The client's preface ends with its settings (RFC 9113 §3.4)."""
        self.has_begun = True
        if kind != SETTINGS or flags & ACK:
            raise Http2Error(PROTOCOL_ERROR, "no settings after the preface")


def _check_rules(kind: int, flags: int, stream_id: int, size: int) -> None:
    """Of frames that are no part of a stream's life, and that one of the engines does not check."""
    if kind == SETTINGS and size and flags & ACK:
        raise Http2Error(FRAME_SIZE_ERROR, "settings in an acknowledgement")  # RFC 9113 §6.5
    if kind == PRIORITY and not stream_id:
        raise Http2Error(PROTOCOL_ERROR, "a priority of stream 0")  # RFC 9113 §6.3


def _is_empty(data: bytes, position: int, size: int, flags: int) -> bool:
    """A frame of DATA has none, or nothing but padding (RFC 9113 §6.1). When its length has not come: it may have."""
    if not size or not flags & PADDED or size > MOST_PADDING_BYTES + 1:
        return not size
    at = position + FRAME_HEADER_BYTES
    return len(data) <= at or data[at] >= size - 1


def _has_got_something(stream_id: int, streams: OpenStreams, known_to_all: int) -> bool:
    """The client has something of an answer on that stream: it is open and says so, or has come to its end."""
    if streams.is_open(stream_id):
        return streams.is_answered(stream_id)
    return stream_id <= known_to_all
