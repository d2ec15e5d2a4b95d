"""Feed bytes to an ``Http1Codec``, whole and in pieces, and write down what it makes of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Final

import pytest

from trioserve._errors import PeerError
from trioserve._protocol import Http1Codec, Http1Limits, ParseFields, RequestHead
from trioserve._protocol.http1 import head_h11

__all__ = [
    "ENGINES", "FAST_ENGINE", "REFERENCE_ENGINE", "Facts", "Reading", "accepted", "facts", "only_head",
    "read_every_way", "read_wire", "refused", "request",
]  # fmt: skip

REFERENCE_ENGINE: Final[ParseFields] = head_h11.parse_fields
FAST_ENGINE: ParseFields | None = None
if find_spec("httptools") is not None:  # not in the plain installation
    from trioserve._protocol.http1 import head_httptools

    FAST_ENGINE = head_httptools.parse_fields

ENGINES: Final = [
    pytest.param(engine, id=name)
    for name, engine in (("h11", REFERENCE_ENGINE), ("httptools", FAST_ENGINE))
    if engine is not None
]


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that a request head says."""

    method: str
    target: bytes
    path: str
    raw_path: bytes
    query_string: bytes
    http_version: str
    headers: tuple[tuple[bytes, bytes], ...]
    keep_alive: bool
    content_length: int | None
    expects_continue: bool
    accepts_trailers: bool


def facts(head: RequestHead) -> Facts:
    meaning = head.meaning
    return Facts(
        head.method, head.target, head.path, head.raw_path, head.query_string, meaning.http_version,
        tuple(head.headers), meaning.keep_alive, meaning.content_length, meaning.expects_continue,
        meaning.accepts_trailers,
    )  # fmt: skip


@dataclass(slots=True)
class Reading:
    """What a codec made of some bytes.

    Attributes:
        heads: what each head says, in order.
        bodies: one for each head; the last may be cut short.
        complete: how many of the bodies have ended.
        refused: the status of the refusal, ``None`` if the bytes are fine so far.
        leftover: bytes that wait for more.
        most_held: the most bytes that the codec kept between two feedings.
    """

    heads: list[Facts] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    complete: int = 0
    refused: int | None = None
    reason: str = ""
    leftover: bytes = b""
    most_held: int = 0

    @property
    def verdict(self) -> tuple[object, ...]:
        """What has to be the same however the bytes arrive, and whichever engine reads them."""
        if self.refused is not None:
            return "refused", self.heads, self.bodies[: self.complete], self.complete
        return "fine", self.heads, self.bodies, self.complete, self.leftover

    @property
    def refusal(self) -> tuple[int | None, str]:
        """Status and reason, which are the same for every engine."""
        return self.refused, self.reason

    @property
    def requests(self) -> list[tuple[str, str, bytes]]:
        """Method, path and body of the complete requests."""
        bodies = self.bodies[: self.complete]
        return [(head.method, head.path, body) for head, body in zip(self.heads, bodies, strict=False)]


def read_wire(engine: ParseFields, pieces: Iterable[bytes], limits: Http1Limits | None = None) -> Reading:
    """Everything that ``pieces`` say, up to the first refusal."""
    codec = Http1Codec(engine, limits or Http1Limits())
    reading = Reading()
    try:
        for piece in pieces:
            codec.receive_data(piece)
            _take_requests(codec, reading)
            reading.most_held = max(reading.most_held, len(codec.trailing_data))
    except PeerError as error:
        reading.refused = error.status
        reading.reason = error.reason
    reading.leftover = codec.trailing_data
    return reading


def _take_requests(codec: Http1Codec, reading: Reading) -> None:
    """As far as the bytes go that the codec has."""
    while True:
        if codec.body_complete:
            head = codec.next_head()
            if head is None:
                return
            reading.heads.append(facts(head))
            reading.bodies.append(b"")
        reading.bodies[-1] += codec.take_body()
        if codec.body_complete:
            reading.complete += 1
        elif not codec.body_pending:
            return


def _feedings(wire: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Byte by byte, and cut in two at each position."""
    yield "byte by byte", [wire[i : i + 1] for i in range(len(wire))]
    for cut in range(1, len(wire)):
        yield f"cut at byte {cut}", [wire[:cut], wire[cut:]]


def read_every_way(engine: ParseFields, wire: bytes, limits: Http1Limits | None = None) -> Reading:
    """What ``wire`` says: the same for the reference engine, down to the reason, and however the bytes arrive."""
    whole = read_wire(engine, [wire], limits)
    reference = read_wire(REFERENCE_ENGINE, [wire], limits)
    assert (reference.verdict, reference.refusal) == (whole.verdict, whole.refusal)
    for manner, pieces in _feedings(wire):
        other = read_wire(engine, pieces, limits)
        assert (other.verdict, other.refused) == (whole.verdict, whole.refused), manner
    return whole


def accepted(engine: ParseFields, wire: bytes, limits: Http1Limits | None = None) -> Reading:
    """The reading of bytes that have to be fine, every way."""
    reading = read_every_way(engine, wire, limits)
    assert reading.refused is None, reading.reason
    return reading


def only_head(engine: ParseFields, wire: bytes, limits: Http1Limits | None = None) -> Facts:
    """The one head in ``wire``."""
    [head] = accepted(engine, wire, limits).heads
    return head


def refused(engine: ParseFields, wire: bytes, limits: Http1Limits | None = None) -> int | None:
    """The status with which ``wire`` is refused, every way."""
    return read_every_way(engine, wire, limits).refused


def request(
    *fields: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes | None = b"Host: a", body: bytes = b""
) -> bytes:
    """The bytes of one request; ``host=None`` leaves that field out."""
    lines = [line, *([host] if host is not None else []), *fields]
    return b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body
