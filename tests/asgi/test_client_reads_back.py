"""Whatever an application sends, a client reads what it meant: h11 is the client, hypothesis the application."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.response_reading import STANDING, Answer, answer, body, early_hint, head_of, start, trailers
from trioserve._asgi import State
from trioserve._errors import AppError

pytestmark = pytest.mark.no_cover  # what they reach other tests reach, and tracing would double their time

thorough = settings(max_examples=400, deadline=None)

SERVERS_BUSINESS = (b"content-length", b"transfer-encoding", b"connection", b"keep-alive")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, as far as its response depends on it."""

    method: str = "GET"
    version: str = "1.1"
    keep_alive: bool = True
    te: bool = False

    def head(self) -> Any:
        option = b"keep-alive" if self.keep_alive else b"close"
        te = [b"TE: trailers"] if self.te else []
        return head_of(b"Connection: " + option, *te, method=self.method, version=self.version)


@dataclass(frozen=True, slots=True)
class Meant:
    """A response, as the application means it."""

    status: int = 200
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)
    declares: bool = False
    hints: list[bytes] = field(default_factory=list)
    trailers: list[list[tuple[bytes, bytes]]] | None = None

    def messages(self) -> list[dict[str, Any]]:
        content = b"".join(self.parts)
        length = [(b"content-length", b"%d" % len(content))] if self.declares else []
        sent = [early_hint(link) for link in self.hints]
        sent.append(start(self.status, [*self.headers, *length], trailers=self.trailers is not None))
        sent += [body(part, more=True) for part in self.parts[:-1]]
        sent.append(body(self.parts[-1] if self.parts else b""))
        for number, headers in enumerate(self.trailers or (), 1):
            sent.append(trailers(headers, more=number < len(self.trailers or ())))
        return sent


requests = st.builds(
    Asked, method=st.sampled_from(["GET", "HEAD", "POST"]), version=st.sampled_from(["1.0", "1.1"]),
    keep_alive=st.booleans(), te=st.booleans(),
)  # fmt: skip

names = st.one_of(
    st.sampled_from([b"x", b"Content-Type", b"content-type", b"Date", b"server", b"set-cookie", b"Vary", b"link"]),
    st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=8).map(lambda name: b"x-" + name.encode()),
)
text = [9, *range(0x20, 0x7F), *range(0x80, 0x100)]
values = st.lists(st.sampled_from(text), max_size=8).map(lambda codes: bytes(codes).strip(b" \t"))
statuses = st.one_of(st.sampled_from([200, 204, 206, 301, 304, 404, 500]), st.integers(200, 999))
trailer_names = st.sampled_from([b"x", b"X-Checksum", b"server-timing", b"etag"])

responses = st.builds(
    Meant,
    status=statuses,
    headers=st.lists(st.tuples(names, values), max_size=5),
    parts=st.lists(st.binary(max_size=20), max_size=4),
    declares=st.booleans(),
    hints=st.lists(values, max_size=2),
    trailers=st.none() | st.lists(st.lists(st.tuples(trailer_names, values), max_size=2), min_size=1, max_size=2),
)


def lowered(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower(), value) for name, value in headers]


@thorough
@given(requests, responses)
def test_the_client_reads_what_the_application_meant(asked: Asked, meant: Meant) -> None:
    made = answer(*meant.messages(), head=asked.head())
    assert made.response.state == State.COMPLETE
    view = made.read()
    has_body = asked.method != "HEAD" and meant.status not in (204, 205, 304)
    assert view.status == meant.status
    assert view.body == (b"".join(meant.parts) if has_body else b"")
    assert made.response.body_bytes == len(view.body)
    own = {name for name, _ in lowered(meant.headers)}
    standing = [(name, value) for name, value in STANDING if name not in own]
    assert view.headers_but(*SERVERS_BUSINESS) == lowered(meant.headers) + standing
    assert view.hints == ([[(b"link", link)] for link in meant.hints] if asked.version == "1.1" else [])
    kept = meant.trailers is not None and asked.te and asked.version == "1.1" and has_body
    sent_trailers = [one for headers in meant.trailers or () for one in headers]
    assert view.trailers == (lowered(sent_trailers) if kept else [])
    assert view.reusable is made.response.keep_alive
    assert view.complete_before_end or not view.reusable


@thorough
@given(requests, responses)
def test_framing_is_one_of_three(asked: Asked, meant: Meant) -> None:
    """Never two; a connection that ends the body says so."""
    made = answer(*meant.messages(), head=asked.head())
    lengths, codings = made.values(b"content-length"), made.values(b"transfer-encoding")
    assert len(lengths) + len(codings) <= 1
    assert codings in ([], [b"chunked"])
    if asked.version == "1.0":
        assert codings == []
    if asked.method != "HEAD" and meant.status not in (204, 205, 304) and not lengths + codings:
        assert made.values(b"connection") == [b"close"]
    assert made.response.keep_alive is (made.values(b"connection") != [b"close"])


@thorough
@given(st.lists(st.tuples(st.binary(max_size=6) | names, st.binary(max_size=6) | values), max_size=4))
def test_any_bytes_in_headers_are_refused_or_stay_where_they_are(headers: list[tuple[bytes, bytes]]) -> None:
    made = answer()
    try:
        made.send(start(200, headers))
    except AppError:
        return
    made.send(body(b"a"))
    assert made.content == b"a"
    plain = [name + b": " + value for name, value in headers if name.lower() not in SERVERS_BUSINESS]
    others = [line for line in made.head_lines[1:] if not line.lower().startswith(SERVERS_BUSINESS)]
    assert others[: len(plain)] == plain


kinds = ("start", "body", "trailers", "early_hint", "unknown")
odd_values: st.SearchStrategy[Any] = st.sampled_from(
    [None, 0, 1, 200, 204, b"", b"a", "a", [], [(b"a", b"b")], [(b"a b", b"c")], [b"<a>"], True, False, {}, -1, 2.5,
     [(b"content-length", b"1")], [(b"connection", b"close")]],
)  # fmt: skip
odd_messages = st.builds(
    lambda kind, others: {"type": f"http.response.{kind}", **others},
    st.sampled_from(kinds),
    st.dictionaries(
        st.sampled_from(["status", "headers", "body", "more_body", "trailers", "more_trailers", "extra"]), odd_values
    ),
)
fine_messages = st.sampled_from([start(), start(204), start(trailers=True), body(b"a", more=True), body(b"b"), body(),
                                 trailers(), early_hint(b"<a>")])  # fmt: skip


@thorough
@given(requests, st.lists(odd_messages | fine_messages, max_size=12))
def test_any_messages_make_a_response_that_can_be_read(asked: Asked, messages: list[dict[str, Any]]) -> None:
    """Refused ones leave nothing behind, and states only go forward."""
    made = answer(head=asked.head())
    sent = b""
    for message in messages:
        before = made.response.state
        try:
            data = made.send(message)
        except AppError:
            assert made.response.state == before
            continue
        assert made.response.state >= before
        if message["type"] == "http.response.body" and before in (State.FIRST_BODY, State.BODY):
            sent += bytes(message.get("body", b""))
        if before == State.COMPLETE:
            assert data == b""
    if made.response.state == State.COMPLETE:
        assert_reads(made, sent)


def assert_reads(made: Answer, sent: bytes) -> None:
    view = made.read()
    assert view.status == made.response.status
    assert view.body == (b"" if made.method == "HEAD" or view.status in (204, 205, 304) else sent)
