"""The rules of a response hold for any version of HTTP: here for one that is no more than a list of what it is told."""

from typing import Any

import pytest

from tests.helpers.response_reading import body, early_hint, head_of, repeated_head, start, trailers
from trioserve._asgi import Response, State
from trioserve._asgi.fields import Pair
from trioserve._errors import AppError
from trioserve._protocol import RequestHead


class Told(Response):
    """Keeps what it should encode, with the state in which it was asked."""

    told: list[Any]

    def _encode_head(self, status: int, fields: list[Pair]) -> Any:
        return status, list(fields)

    def _encode_body(self, data: bytes, is_first: bool, pieces: list[bytes]) -> None:
        if is_first:
            self.told.append(self._encoded_head)
        self.told.append((data, State(self.state).name))

    def _encode_parts(self, parts: list[bytes], size: int, pieces: list[bytes]) -> int:
        self.told.append((b"".join(parts), State(self.state).name))
        return size

    def _encode_trailers(self, fields: list[Pair], pieces: list[bytes]) -> None:
        self.told.append((fields, State(self.state).name))

    def _encode_hint(self, fields: list[Pair], pieces: list[bytes]) -> None:
        self.told.append(fields)


def told(*messages: Any, head: RequestHead | None = None) -> list[Any]:
    response = Told(head or head_of())
    response.told = []
    for message in messages:
        response.encode(message, [])
    return response.told


def test_what_an_encoder_is_told() -> None:
    fields = [(b"X-A", b"1"), (b"content-length", b"3"), (b"connection", b"close"), (b"transfer-encoding", b"chunked")]
    assert told(early_hint(b"</a>"), start(201, fields), body(b"ab", more=True), body(b"c")) == [
        [(b"link", b"</a>")], (201, [(b"X-A", b"1"), (b"content-length", b"3")]), (b"ab", "BODY"), (b"c", "COMPLETE"),
    ]  # fmt: skip


def test_a_run_is_one_part() -> None:
    response = Told(head_of())
    response.told = []
    for message in (start(headers=[(b"content-length", b"5")]), body(b"a", more=True)):
        response.encode(message, [])
    assert (response.run_room(), response.encode_run([b"b", b"cd"], 3, [])) == (4, 3)
    with pytest.raises(AppError, match="longer"):
        response.encode(body(b"ef"), [])
    response.encode(body(b"e"), [])
    assert response.told[1:] == [(b"a", "BODY"), (b"bcd", "BODY"), (b"e", "COMPLETE")]
    assert response.body_bytes == 5


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_where_no_body_is_expected_none_is_given(method: str, status: int) -> None:
    assert told(start(status), body(b"abc"), head=head_of(method=method)) == [(status, []), (b"", "COMPLETE")]


@pytest.mark.parametrize(("fields", "expected"), [((b"TE: trailers",), [(b"x", b"1"), (b"y", b"2")]), ((), [])])
def test_trailers_come_as_one_for_who_keeps_them(fields: tuple[bytes, ...], expected: list[Pair]) -> None:
    messages = start(trailers=True), body(b"a"), trailers([(b"x", b"1")], more=True), trailers([(b"y", b"2")])
    assert told(*messages, head=head_of(*fields)) == [(200, []), (b"a", "TRAILERS"), (expected, "COMPLETE")]


def test_the_head_is_made_once_for_a_request_that_is_repeated() -> None:
    head = repeated_head()
    heads = [told(start(headers=[(b"x", b"1")]), body(), head=head)[0] for _ in range(4)]
    assert heads == [(200, [(b"x", b"1")])] * 4
    assert heads[0] is heads[1] is heads[2] is heads[3]
