"""What a client of HTTP/2 sees of a server's bytes, whatever it has sent itself: every frame is checked and noted."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from hpack import Decoder

__all__ = ["Http2Transcript", "split_frames"]

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
HEADER_BYTES: Final = 9
NO_ERROR: Final = 0
STREAM_CLOSED: Final = 5


@dataclass
class Http2Transcript:
    """All that a server sent on one connection (RFC 9113). Raises AssertionError when it broke a rule.

    Attributes:
        statuses, bodies: of each answer that has begun, by the number of its stream.
        ended: streams whose answers are complete.
        resets: streams that the server reset because something was wrong, with the first code of each.
        code: of the GOAWAY that ended the connection because of an error; ``None`` without one.
    """

    statuses: dict[int, bytes] = field(default_factory=dict)
    bodies: dict[int, bytes] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    resets: dict[int, int] = field(default_factory=dict)
    code: int | None = None

    @property
    def broken(self) -> set[int]:
        """Streams that were reset because of what is wrong with them, not because they are closed already."""
        return {stream_id for stream_id, code in self.resets.items() if code != STREAM_CLOSED}

    @classmethod
    def of(cls, data: bytes) -> "Http2Transcript":
        transcript, decoder = cls(), Decoder()  # of 4 KiB, which the server keeps to whatever its client allows
        frames = list(split_frames(data))
        assert sum(HEADER_BYTES + len(payload) for _, _, _, payload in frames) == len(data), "whole frames (§4.1)"
        for number, (kind, flags, stream_id, payload) in enumerate(frames):
            assert (kind == SETTINGS and not flags & ACK) is (number == 0), "settings come first, and once (§3.4)"
            assert transcript.code is None, "nothing follows an error (§5.4.1)"
            transcript._note(kind, flags, stream_id, payload, decoder)
        return transcript

    def _note(self, kind: int, flags: int, stream_id: int, payload: bytes, decoder: Decoder) -> None:
        if kind in (HEADERS, DATA):
            assert stream_id % 2 == 1, "the client's streams"
            assert stream_id not in self.ended, "nothing follows an end (§5.1)"
            assert stream_id not in self.resets, "nothing follows a reset (§5.1)"
            if kind == HEADERS:
                assert flags & END_HEADERS
                self._note_fields(stream_id, decoder.decode(payload, raw=True))
            else:
                assert stream_id in self.bodies, "a body has a head (§8.1)"
                self.bodies[stream_id] += payload
            if flags & END_STREAM:
                self.ended.add(stream_id)
        elif kind == RST_STREAM:
            if (code := int.from_bytes(payload, "big")) != NO_ERROR:
                self.resets.setdefault(stream_id, code)
        elif kind == GOAWAY:
            self.code = int.from_bytes(payload[4:8], "big") or None
        else:
            assert kind in (SETTINGS, PING, WINDOW_UPDATE), kind

    def _note_fields(self, stream_id: int, fields: Iterable[tuple[bytes, bytes]]) -> None:
        status = dict(fields)[b":status"]
        if not status.startswith(b"1"):
            assert stream_id not in self.statuses, "one answer"
            self.statuses[stream_id] = status
            self.bodies[stream_id] = b""


def split_frames(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Kind, flags, stream and payload of each whole frame."""
    while (end := HEADER_BYTES + int.from_bytes(data[:3], "big")) <= len(data):
        yield data[3], data[4], int.from_bytes(data[5:HEADER_BYTES], "big"), data[HEADER_BYTES:end]
        data = data[end:]
